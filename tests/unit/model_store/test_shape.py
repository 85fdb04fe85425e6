from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException

from model_store.shape import KEYS, POD, RESOURCES, read_forbidden, refuse_forbidden, step_settings
from modelyard.errors import RequestError
from modelyard.project.model import Step, StepResources
from modelyard.project.pod import Pod

# As `modelyard lock` resolves `pod: {env: …, volumes: …}`.
SETTINGS = Step.model_validate(
    {"resources": {"cpu": "1", "memory": "2Gi"}, "pod": {"env": [{"name": "A", "value": "b"}]}}
).model_dump(mode="json")


def test_all_that_model_yaml_knows_can_be_forbidden():
    assert set(RESOURCES) == set(StepResources.model_fields)
    assert set(POD) == set(Pod.model_fields)
    assert {"resources", "pod", *KEYS} == {*Step.model_fields, *RESOURCES, *POD}


def test_a_key_that_there_is_not_would_forbid_nothing():
    assert read_forbidden(" env,volumes , ") == ("env", "volumes")
    assert read_forbidden("") == ()
    with pytest.raises(AirflowException, match="forbid names 'volume'\n  → the keys there are: cpu,"):
        read_forbidden("env, volume")


@pytest.mark.parametrize(("forbidden", "named"), [("env", "pod.env"), ("cpu", "resources.cpu")])
def test_what_is_forbidden_is_named(forbidden: str, named: str):
    with pytest.raises(AirflowException, match=f"`steps.train.{named}` of model.yaml is forbidden"):
        refuse_forbidden("train", SETTINGS, (forbidden,))


def test_what_a_project_does_not_ask_for_is_not_refused():
    refuse_forbidden("train", SETTINGS, ("volumes", "gpu", "defer", "serviceAccountName"))
    refuse_forbidden("rollback", {}, KEYS)


def test_a_runs_params_win_over_model_yaml():
    params = {"resources.train.memory": "8Gi", "resources.train.cpu": None, "resources.validate.cpu": "9", "ref": "v1"}
    asked = step_settings("train", SETTINGS, params, ())
    assert asked.resources.quantities() == {"cpu": "1", "memory": "8Gi"}
    assert asked.pod.to_json()["env"] == [{"name": "A", "value": "b"}]


def test_a_step_that_model_yaml_does_not_name_is_as_it_comes():
    asked = step_settings("rollback", {}, {}, ())
    assert asked.resources.quantities() == {}
    assert not asked.defer


def test_what_is_forbidden_is_no_param_either():
    with pytest.raises(RequestError, match=r"The Param resources.train.memory is forbidden"):
        step_settings("train", {}, {"resources.train.memory": "8Gi"}, ("memory",))
    step_settings("train", {}, {"resources.train.memory": None}, ("memory",))


@pytest.mark.parametrize("memory", ["1m", "0", "lots"])
def test_a_param_that_is_no_quantity_is_refused(memory: str):
    with pytest.raises(RequestError, match=r"`steps.train.resources.memory` cannot be: .*\n  → correct the Params"):
        step_settings("train", SETTINGS, {"resources.train.memory": memory}, ())


@pytest.mark.parametrize(
    "pod",
    [
        {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]},
        {"securityContext": {"runAsUser": 0}},
        {"volumes": [{"name": "a", "emptyDir": {}}], "volumeMounts": [{"name": "a", "mountPath": "/usr"}]},
    ],
)
def test_a_lock_that_was_written_by_hand_gets_no_further(pod: dict[str, Any]):
    with pytest.raises(RequestError, match="modelyard lock"):
        step_settings("train", {"pod": pod}, {}, ())
