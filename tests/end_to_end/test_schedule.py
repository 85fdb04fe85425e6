"""A way in without a person: the scheduler starts a retraining by itself."""

from __future__ import annotations

from pathlib import Path

from tests.fixtures_machine import copy_of, wait_until

from modelyard.demo.machine import Machine
from modelyard.demo.rest import AirflowApi
from modelyard.demo.show import failures
from modelyard.project.write_lock import write_lock


def test_the_scheduler_retrains_a_model_when_its_time_has_come(machine: Machine, api: AirflowApi, projects: Path):
    project = copy_of("wine", projects, "wine-every-minute", ("seed: 42\n", 'seed: 42\nschedule: "* * * * *"\n'))
    write_lock(project, machine.home, print)
    api.wait_for_dag(project.name)

    def first_run() -> dict[str, object] | None:
        return next(iter(api.runs(project.name)), None)

    run = wait_until(first_run, 120, "A run by schedule")
    assert run["run_type"] == "scheduled"
    run_id = str(run["dag_run_id"])
    ended = api.wait(project.name, run_id)
    api.patch(f"/dags/{project.name}", {"is_paused": True})  # one is enough; a paused run would stand still
    assert ended == "success", failures(api, project.name, run_id)
    assert api.xcom(project.name, run_id, "deploy")["version"] == 1


def test_a_version_of_one_model_starts_the_retraining_of_another(machine: Machine, api: AirflowApi, projects: Path):
    schedule = 'seed: 42\nschedule: {asset: "modelyard://wine/versions"}\n'
    project = copy_of("wine", projects, "wine-follower", ("seed: 42\n", schedule))
    write_lock(project, machine.home, print)
    api.wait_for_dag(project.name)
    before = {run["dag_run_id"] for run in api.runs(project.name)}
    api.wait("wine", api.trigger("wine", {"release": False}))
    runs = wait_until(lambda: [run for run in api.runs(project.name) if run["dag_run_id"] not in before], 60, "A run")
    assert runs[0]["run_type"] == "asset_triggered"
    assert api.wait(project.name, runs[0]["dag_run_id"]) == "success"
    api.patch(f"/dags/{project.name}", {"is_paused": True})
