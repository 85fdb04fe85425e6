"""The first way in: a client of Airflow's REST API, with conf."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.fixtures_machine import example_of, fail, succeed, takes_long

from modelyard.demo.machine import Machine
from modelyard.demo.rest import AirflowApi
from modelyard.errors import RequestError
from modelyard.store import Store

STEPS = ["prepare", "train", "log_to_sacred", "validate", "containerise", "test_image", "push", "deploy"]


@pytest.fixture
def store(machine: Machine) -> Any:
    with Store.open(machine.store) as store:
        yield store


@pytest.mark.parametrize(
    ("model", "conf", "config"),
    [
        ("wine", {"config.C": 0.5}, {"C": 0.5}),
        ("houses", {}, {}),
        ("digits-notebook", {}, {}),
    ],
)
def test_an_example_goes_from_its_project_to_a_live_answer(
    machine: Machine, api: AirflowApi, store: Store, model: str, conf: dict[str, Any], config: dict[str, Any]
):
    run = succeed(api, model, {**conf, "reason": "a test"})

    assert [(task.task_id, task.state) for task in api.tasks(model, run)] == [(step, "success") for step in STEPS]
    deployed = api.xcom(model, run, "deploy")
    version = store.versions.get(model, deployed["version"])
    assert version.image_digest == deployed["image_digest"] == api.xcom(model, run, "push")["image_digest"]
    alias = store.aliases.get(model, "production")
    assert alias is not None
    assert alias.version == version.version
    assert alias.history[-1].why == "a test"

    sacred = store.runs.get(version.run_id)
    assert sacred["status"] == "COMPLETED"
    assert {**sacred["config"], **config} == sacred["config"]
    assert version.metrics
    assert version.report is not None

    answer = httpx.post(f"{deployed['address']}/predict", json=example_of(deployed["address"]))
    assert answer.status_code == 200
    assert answer.json()["predictions"]
    assert answer.headers["modelyard-model-version"] == str(version.version)
    assert answer.headers["modelyard-run-id"] == str(version.run_id)
    assert answer.headers["modelyard-image-digest"] == version.image_digest

    events = api.get("/assets/events", source_dag_id=model, source_run_id=run)["asset_events"]
    extras = {event["uri"]: event["extra"] for event in events}
    assert extras[f"modelyard://{model}/versions"]["version"] == version.version
    assert extras[f"modelyard://{model}/deployments/production"]["image_digest"] == version.image_digest


@takes_long  # tests/pipeline/test_line.py has it without Airflow
def test_a_second_run_with_nothing_changed_makes_the_same_image(api: AirflowApi):
    first, second = (api.xcom("wine", succeed(api, "wine", {}), "push") for _ in range(2))
    assert second["version"] > first["version"]
    assert second["image_digest"] == first["image_digest"]


def test_a_candidate_is_released_later_without_training_and_rolled_back(api: AirflowApi, store: Store):
    before = api.xcom("wine", succeed(api, "wine", {}), "deploy")
    run = succeed(api, "wine", {"release": False, "config.C": 0.25})
    states = {task.task_id: task.state for task in api.tasks("wine", run)}
    assert states == {step: "success" if step in STEPS[:3] else "skipped" for step in STEPS}
    candidate = api.xcom("wine", run, "log_to_sacred")["version"]
    assert httpx.get(before["address"] + "/readyz").headers["modelyard-model-version"] == str(before["version"])

    run = succeed(api, "wine", {"version": candidate})
    states = {task.task_id: task.state for task in api.tasks("wine", run)}
    assert [step for step, state in states.items() if state == "skipped"] == ["train", "log_to_sacred"]
    after = api.xcom("wine", run, "deploy")
    assert after["address"] == before["address"]
    assert httpx.get(after["address"] + "/readyz").headers["modelyard-model-version"] == str(candidate)

    back = {"model": "wine", "version": before["version"], "environment": "production", "reason": "too simple"}
    succeed(api, "modelyard-rollback", back)
    assert httpx.get(after["address"] + "/readyz").headers["modelyard-model-version"] == str(before["version"])
    alias = store.aliases.get("wine", "production")
    assert alias is not None
    assert (alias.version, alias.history[-1].why) == (before["version"], "too simple")


@pytest.mark.parametrize(
    ("conf", "named"),
    [
        ({"config.C": "much"}, "config.C"),
        ({"environment": "moon"}, "environment"),
        ({"version": 0}, "version"),
        ({"release": "perhaps"}, "release"),
    ],
)
def test_a_wrong_value_is_refused_at_the_trigger(api: AirflowApi, conf: dict[str, Any], named: str):
    api.wait_for_dag("wine")
    with pytest.raises(RequestError, match=rf"400.*{named}"):
        api.trigger("wine", conf)


def test_an_unknown_key_is_refused_by_the_first_step_with_the_nearest_known(api: AirflowApi):
    errors = fail(api, "wine", {"config.c": 0.5})
    assert list(errors) == ["prepare"]
    assert "config.c" in errors["prepare"]
    assert "config.C" in errors["prepare"]


def test_a_version_that_does_not_exist_is_refused_and_production_stays(api: AirflowApi, store: Store):
    before = store.aliases.get("wine", "production")
    errors = fail(api, "wine", {"version": 4711})
    assert list(errors) == ["prepare"]
    assert "4711" in errors["prepare"]
    assert store.aliases.get("wine", "production") == before
