from modelyard.errors import GateFailed, Problem, ProjectError, Superseded, Unavailable
from modelyard.store.records import pipeline_run_id


def test_an_error_shows_its_remedy_on_a_line_of_its_own():
    assert str(GateFailed("accuracy is 0.8", "train longer")) == "accuracy is 0.8\n  → train longer"


def test_without_a_remedy_there_is_no_line_for_one():
    assert str(GateFailed("accuracy is 0.8: train longer", None)) == "accuracy is 0.8: train longer"


def test_who_was_overtaken_is_told_that_there_is_nothing_to_mend():
    assert "\n  → nothing to do: Models shows" in str(Superseded("wine:3 is not deployed: generation 8 has taken over"))


def test_only_what_another_try_can_help_is_transient():
    assert (Unavailable.transient, GateFailed.transient) == (True, False)
    assert Unavailable.exit_code != GateFailed.exit_code


def test_a_project_error_lists_every_problem_with_its_place():
    problems = [
        Problem("model.yaml", 3, "seed", "is not an integer", "write seed: 42"),
        Problem("train.py", None, "", "is missing", "create it"),
    ]
    assert str(ProjectError(problems)) == (
        "model.yaml:3: seed: is not an integer\n  → write seed: 42\ntrain.py: is missing\n  → create it"
    )


def test_pipeline_runs_of_two_installations_never_share_a_key():
    one = pipeline_run_id("a", "wine", "manual__1")
    assert one == pipeline_run_id("a", "wine", "manual__1")
    assert one != pipeline_run_id("b", "wine", "manual__1")
    assert pipeline_run_id("a", "b", "c") != pipeline_run_id("a", "bc", "")
