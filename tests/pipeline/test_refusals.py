"""What a protected environment does not take is refused with all that it lacks; nothing goes live."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.pipeline.tiny import LOADS_ONLY_BESIDE_A_STEP, PROTECTED, assert_nothing_live, assert_serves
from tests.yard import Yard, change


def test_a_protected_environment_takes_committed_code_alone(yard: Yard, tiny: Path) -> None:
    change(yard, tiny, "model.yaml", lambda text: text + PROTECTED)
    no_commit = tiny.parent / "elsewhere" / "tiny"
    shutil.copytree(tiny, no_commit, ignore=shutil.ignore_patterns(".git"))
    assert yard.run(no_commit) == 65
    assert "in no Git commit" in yard.said

    predict = tiny / "predict.py"
    clean = predict.read_text()
    predict.write_text(clean + "# not committed\n")
    assert yard.run(tiny) == 65
    assert "cannot be released to 'production', which is protected" in yard.said
    assert "+# not committed" in yard.said
    assert "train: " not in yard.said

    # It may be tried out all the same; the candidate keeps its difference, wherever the folder went meanwhile.
    assert yard.run(tiny, release=False) == 0, yard.said
    predict.write_text(clean)
    assert yard.run(tiny, version=1) == 65
    assert "tiny:1 cannot be released" in yard.said
    assert "+# not committed" in yard.said
    assert_nothing_live(yard)


def test_without_evaluation_data_nothing_goes_to_a_protected_environment(yard: Yard, tiny: Path) -> None:
    change(yard, tiny, "train.py", lambda text: text.replace('role="evaluation"', 'role="train"'))
    change(yard, tiny, "model.yaml", lambda text: text + PROTECTED)
    assert yard.run(tiny) == 65
    assert "Environment 'production' is protected: nothing is released to it that was not measured." in yard.said
    assert_nothing_live(yard)


def test_a_bad_project_and_failing_code_are_told_where_they_are_wrong(yard: Yard, tiny: Path) -> None:
    assert yard.run(tiny) == 0, yard.said
    model_yaml, sound = tiny / "model.yaml", (tiny / "model.yaml").read_text()
    model_yaml.write_text(sound.replace("seed: 1", "sed: 1") + "schedule: sometimes\n")
    assert yard.run(tiny) == 65
    assert [line for line in yard.lines if "model.yaml:" in line] == [
        "prepare: Step 'prepare' failed: model.yaml:6: sed: is no key that model.yaml knows.",
        "prepare: model.yaml:7: schedule: 'sometimes' is no cron expression: it has 1 fields, not five.",
    ]
    assert "  → Did you mean 'seed'?" in yard.said

    model_yaml.write_text(sound.replace("seed: 1", "seed: 2"))
    assert yard.run(tiny) == 65
    assert "model.lock.json: It is stale: model.yaml, train.py or Pipfile.lock changed after it was" in yard.said
    assert "  → Write it anew with: modelyard lock tiny" in yard.said

    model_yaml.write_text(sound)
    change(yard, tiny, "train.py", lambda text: text.replace("    log_model(", "    threshold / 0\n    log_model("))
    assert yard.run(tiny) == 65
    told = yard.said.partition("Step 'train' failed: ")[2]
    assert told.startswith("train.py ended with exit code 1 (Sacred run 2)\n")
    assert "threshold / 0" in told
    assert "ZeroDivisionError: float division by zero" in told
    with yard.open() as store:
        failed = store.runs.get(2)
    assert failed["status"] == "FAILED"
    assert "ZeroDivisionError" in failed["fail_trace"][-1]
    assert_serves(yard, 1)


def test_what_a_run_asks_for_and_cannot_have_is_refused(yard: Yard, tiny: Path) -> None:
    assert yard.run(tiny, config__treshold=0.6) == 65
    assert "keys that this model does not know: config.treshold" in yard.said
    assert "Did you mean 'config.threshold'?" in yard.said
    # A folder is trained as it is: only a repository can be had at a ref.
    assert yard.run(tiny, ref="main") == 65
    assert "keys that this model does not know: ref" in yard.said


def test_a_dockerfile_is_not_for_steps_that_are_processes(yard: Yard, tiny: Path) -> None:
    (tiny / "Dockerfile").write_text("FROM python:3.11-slim\n")
    change(yard, tiny, "model.yaml", lambda text: text)
    assert yard.run(tiny) == 65
    assert "The project has a Dockerfile (Dockerfile), and nothing here builds it" in yard.said
    assert "execution = kubernetes" in yard.said


def test_a_version_that_gets_never_ready_leaves_the_one_before_in_its_place(yard: Yard, tiny: Path) -> None:
    assert yard.run(tiny) == 0, yard.said
    change(yard, tiny, "predict.py", lambda text: text.replace(*LOADS_ONLY_BESIDE_A_STEP))
    assert yard.run(tiny) == 65
    assert "push: Released tiny:2" in yard.said
    told = yard.said.partition("Step 'deploy' failed: ")[2]
    assert told.startswith("tiny:2 did not go live in 'production'; version 1 still serves: ")
    assert "RuntimeError: no license for this machine" in told
    assert f"the whole log is in {yard.home}/deployments/production/tiny/service.log" in told
    assert_serves(yard, 1)
    with yard.open() as store:
        history = store.deployments.history("tiny", "production")
        alias = store.aliases.get("tiny", "production")
        step = store.steps.get(yard.pipeline_run, "deploy")
    assert [(one.version, one.state) for one in history] == [(2, "failed"), (1, "live")]
    assert alias is not None
    assert len(alias.history) == 1
    assert step is not None
    assert step.error is not None
    assert "no license for this machine" in step.error["message"]
