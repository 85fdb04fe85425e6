"""Hook, operators and sensor in a DAG that is none of Modelyard's, the sensor's waiting in Airflow's triggerer."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fixtures_machine import EXAMPLES, succeed, wait_until

from modelyard.demo.machine import Machine
from modelyard.demo.rest import AirflowApi
from modelyard.demo.show import failures
from modelyard.store import Store

DAG = """\
from airflow.sdk import DAG, chain, task

from model_store.hook import ModelStoreHook
from model_store.operators import FetchVersionOperator, PromoteVersionOperator, RegisterVersionOperator
from model_store.sensor import ModelVersionSensor

WAITED = "{{{{ ti.xcom_pull(task_ids='wait') }}}}"

with DAG("review", schedule=None) as dag:

    @task
    def run_of(version):
        with ModelStoreHook() as store:
            return store.versions.get("wine", version).run_id

    wait = ModelVersionSensor(
        task_id="wait", model="wine", alias="reviewed", deferrable=True, poke_interval=1, timeout=300
    )
    fetch = FetchVersionOperator(task_id="fetch", model="wine", version="reviewed", folder={folder!r})
    run = run_of(wait.output)
    register = RegisterVersionOperator(task_id="register", run_id=run, folder={folder!r}, project={project!r})
    promote = PromoteVersionOperator(
        task_id="promote", model="wine", alias="champion", version=WAITED, why="reviewed by {{{{ dag.dag_id }}}}"
    )
    chain(wait, fetch, register, promote)
"""


def test_a_dag_of_ones_own_waits_fetches_registers_and_promotes(
    machine: Machine, api: AirflowApi, own_dags: Path, tmp_path: Path
):
    candidate = api.xcom("wine", succeed(api, "wine", {"release": False}), "log_to_sacred")["version"]
    folder = tmp_path / "model"
    (own_dags / "review.py").write_text(DAG.format(folder=str(folder), project=str(EXAMPLES / "wine")))
    api.wait_for_dag("review")
    run = api.trigger("review", {})

    def waits() -> bool:
        return any(task.task_id == "wait" and task.state == "deferred" for task in api.tasks("review", run))

    wait_until(waits, 60, "A sensor in the triggerer")
    with Store.open(machine.store) as store:
        store.aliases.move("wine", "reviewed", to=candidate, by="a reviewer", why="good")
        assert api.wait("review", run) == "success", failures(api, "review", run)
        champion = store.aliases.get("wine", "champion")
    assert champion is not None
    assert (champion.version, champion.history[-1].why) == (candidate, "reviewed by review")
    for task in ("wait", "fetch", "register", "promote"):
        assert api.xcom("review", run, task) == candidate
    (event,) = api.get("/assets/events", source_dag_id="review", source_run_id=run)["asset_events"]
    assert (event["uri"], event["extra"]["version"]) == ("modelyard://wine/versions", candidate)
    assert json.loads((folder / "modelyard.json").read_text())["flavor"] == "sklearn"
