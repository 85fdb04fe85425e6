from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import ParamValidationError
from tests.unit.model_store.locks import asks_for_approval, lock, write

from model_store.params import needs_approval, params_of
from model_store.projects import LockedProject, find
from modelyard.steps.plan import RESOURCE_PARAMS


def locked(tmp_path: Path, **changes: Any) -> LockedProject:
    (found,) = find([write(tmp_path, lock(**changes))])
    assert isinstance(found, LockedProject)
    return found


def given(project: LockedProject, conf: dict[str, Any]) -> dict[str, Any]:
    """What Airflow makes of conf at the trigger."""
    params = ParamsDict(params_of(project))
    params.update(conf)
    return params.validate()


def test_every_param_has_a_default_so_that_a_schedule_can_run(tmp_path: Path):
    assert given(locked(tmp_path), {}) == {
        "data.wine": "data/wine.csv",
        "config.model.C": 1.0,
        "version": None,
        "release": True,
        "environment": "production",
        "reason": None,
    }


@pytest.mark.parametrize(
    "conf",
    [
        {"config.model.C": "high"},
        {"config.model.C": None},
        {"data.wine": ""},
        {"version": 0},
        {"version": "newest"},
        {"release": "no"},
        {"environment": "mars"},
    ],
)
def test_a_wrong_value_is_refused_at_the_trigger(tmp_path: Path, conf: dict[str, Any]):
    with pytest.raises(ParamValidationError):
        given(locked(tmp_path), conf)


@pytest.mark.parametrize(
    ("kind", "default", "right", "wrong"),
    [
        ("integer", 3, 4, 4.5),
        ("boolean", True, False, "yes"),
        ("string", "lbfgs", "saga", 1),
        ("array", [1], [1, 2], "1,2"),
        ("object", {"a": 1}, {}, []),
        ("null", None, {"any": 1}, None),
    ],
)
def test_the_experiments_configuration_is_typed(tmp_path: Path, kind: str, default: Any, right: Any, wrong: Any):
    project = locked(tmp_path, config=[{"path": "x", "type": kind, "default": default, "doc": None}])
    assert given(project, {"config.x": right})["config.x"] == right
    if wrong is not None:
        with pytest.raises(ParamValidationError):
            given(project, {"config.x": wrong})


@pytest.mark.parametrize("default", [None, "", []])
def test_a_default_that_the_form_shows_as_empty_may_stay_empty(tmp_path: Path, default: Any):
    kind = "array" if default == [] else "string"
    project = locked(tmp_path, config=[{"path": "x", "type": kind, "default": default, "doc": None}])
    assert given(project, {"config.x": None})["config.x"] is None


def test_approval_is_asked_for_only_where_an_environment_may_need_it(tmp_path: Path):
    asking = locked(tmp_path / "a", deployment=asks_for_approval())
    assert needs_approval(asking)
    assert given(asking, {})["approve"] is None
    plain = locked(tmp_path / "b")
    assert not needs_approval(plain)
    assert "approve" not in params_of(plain)


def test_a_run_can_be_given_more_where_steps_are_pods(tmp_path: Path):
    project = locked(tmp_path)
    params = ParamsDict(params_of(project, RESOURCE_PARAMS))
    names = [key for key in params if key.startswith("resources.")]
    assert names == [
        "resources.train.cpu",
        "resources.train.memory",
        "resources.validate.cpu",
        "resources.validate.memory",
    ]
    assert params.validate()["resources.train.cpu"] == "1", "what model.yaml says"
    assert params.validate()["resources.validate.memory"] is None
    params.update({"resources.train.memory": "16Gi", "resources.train.cpu": "500m"})
    assert project.asked_for(params.validate()).items() >= {"resources.train.memory": "16Gi"}.items()
    for wrong in ("lots", "16 Gi", "-1", "16GB", 16):
        with pytest.raises(ParamValidationError):
            ParamsDict(params_of(project, RESOURCE_PARAMS)).update({"resources.train.memory": wrong})


def test_only_what_differs_from_model_yaml_is_written_down(tmp_path: Path):
    project = locked(tmp_path)
    defaults = ParamsDict(params_of(project, RESOURCE_PARAMS)).validate()
    assert not [key for key in project.asked_for(defaults) if key.startswith("resources.")]


def test_only_a_git_project_has_a_ref(tmp_path: Path):
    project = locked(tmp_path)
    assert "ref" not in params_of(project)
    of_git = LockedProject(project.name, project.project, project.config, {"git": "https://x", "ref": "main"})
    assert given(of_git, {})["ref"] == "main"
