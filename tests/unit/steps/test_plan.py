import pytest

from modelyard.errors import RequestError
from modelyard.steps import plan

PROJECT = {
    "name": "wine",
    "deployment": {
        "environment": "staging",
        "environments": {
            "staging": {"target": "local", "protected": False},
            "production": {"target": "local", "protected": True},
        },
    },
}


def ran(params):
    return [step.name for step in plan.STEPS if plan.skipped_because(step.name, params) is None]


def test_a_plain_run_leaves_nothing_out():
    assert ran({"version": None, "release": True}) == [step.name for step in plan.STEPS]


def test_a_candidate_is_released_without_training():
    assert ran({"version": 3, "release": True}) == ["prepare", *plan.RELEASING]


def test_without_release_the_run_ends_with_a_candidate():
    assert ran({"release": False}) == ["prepare", "train", "log_to_sacred"]


def test_every_reason_for_leaving_out_is_said():
    assert "3" in str(plan.skipped_because("train", {"version": 3}))
    assert "release" in str(plan.skipped_because("deploy", {"release": False}))


def test_the_param_wins_over_model_yaml():
    assert plan.settings(PROJECT, {})["environment"] == "staging"
    chosen = plan.settings(PROJECT, {"environment": "production"})
    assert chosen == {"environment": "production", "target": "local", "protected": True}


def test_an_environment_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(RequestError, match="staging, production"):
        plan.settings(PROJECT, {"environment": "moon"})


@pytest.mark.parametrize(
    ("protected", "approval", "approve", "asks"),
    [
        (False, False, None, False),
        (False, False, True, True),
        (False, True, None, True),
        (False, True, False, False),
        (True, True, False, True),
    ],
)
def test_a_person_is_asked_where_the_environment_or_the_run_says_so(protected, approval, approve, asks):
    settings = {"protected": protected, "approval": approval}
    assert plan.asks_approval(settings, {"approve": approve}) is asks
