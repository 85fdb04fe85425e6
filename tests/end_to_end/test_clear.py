"""A person's *Clear* runs the cleared tasks again, on the records of those that were not cleared."""

from __future__ import annotations

from tests.fixtures_machine import succeed

from modelyard.demo.machine import Machine
from modelyard.demo.rest import AirflowApi
from modelyard.demo.show import failures
from modelyard.steps.plan import STEPS
from modelyard.store import Store

NAMES = [step.name for step in STEPS]


def clear_from(api: AirflowApi, model: str, run: str, task: str) -> dict[str, int]:
    """Clear a task and all after it, and return each task's tries when the run has ended again."""
    body = {"dag_run_id": run, "task_ids": [task], "include_downstream": True, "only_failed": False, "dry_run": False}
    api.post(f"/dags/{model}/clearTaskInstances", body)
    assert api.wait(model, run) == "success", failures(api, model, run)
    return {task.task_id: task.try_number for task in api.tasks(model, run)}


def test_what_is_cleared_runs_again_and_nothing_else(machine: Machine, api: AirflowApi):
    run = succeed(api, "wine", {"config.C": 0.6})
    first = api.xcom("wine", run, "deploy")

    tries = clear_from(api, "wine", run, "validate")
    assert tries == {name: 2 if NAMES.index(name) >= NAMES.index("validate") else 1 for name in NAMES}
    again = api.xcom("wine", run, "deploy")
    assert (again["version"], again["image_digest"]) == (first["version"], first["image_digest"])

    # Trained anew: another Sacred run, so another version, which replaces the first.
    clear_from(api, "wine", run, "train")
    trained = api.xcom("wine", run, "deploy")
    assert trained["version"] > first["version"]
    assert trained["image_digest"] == first["image_digest"]
    with Store.open(machine.store) as store:
        live = store.deployments.live("wine", "production")
        assert live is not None
        assert live.version == trained["version"]
        runs = [store.versions.get("wine", one["version"]).run_id for one in (first, trained)]
        assert [store.runs.get(run_id)["status"] for run_id in runs] == ["COMPLETED", "COMPLETED"]
