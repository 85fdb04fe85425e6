"""A person is asked before a version is deployed, with its figures against production's, and is obeyed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures_machine import copy_of, wait_until

from modelyard.demo.machine import Machine
from modelyard.demo.rest import AirflowApi
from modelyard.demo.show import failures
from modelyard.project.write_lock import write_lock
from modelyard.store import Store


@pytest.fixture(scope="module")
def asked(machine: Machine) -> str:
    """A model whose production asks a person."""
    approval = "deployment: {environments: {production: {approval: true}}}\n"
    project = copy_of("wine", machine.home.parent / "projects", "wine-asked", ("seed: 42\n", f"seed: 42\n{approval}"))
    write_lock(project, machine.home, print)
    return project.name


def question(api: AirflowApi, model: str, conf: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Start a run and return its id, and the question once it is asked."""
    api.wait_for_dag(model)
    run = api.trigger(model, conf)

    def parked() -> bool:
        states = {task.task_id: task.state for task in api.tasks(model, run)}
        assert "failed" not in states.values(), failures(api, model, run)
        return states.get("approve") == "awaiting_input"

    wait_until(parked, 300, "A question")
    # An answer in the very second of the question makes Airflow 3.3 fail the task and ask again (apache/airflow#72716).
    time.sleep(3)
    return run, api.get(f"/dags/{model}/dagRuns/{run}/taskInstances/approve/-1/hitlDetails")


def answer(api: AirflowApi, model: str, run: str, chosen: str) -> dict[str, str | None]:
    """Answer the question and return each task's state at the run's end."""
    path = f"/dags/{model}/dagRuns/{run}/taskInstances/approve/-1/hitlDetails"
    api.patch(path, {"chosen_options": [chosen]})
    assert api.wait(model, run) == "success", failures(api, model, run)
    return {task.task_id: task.state for task in api.tasks(model, run)}


def live_version(machine: Machine, model: str) -> int | None:
    with Store.open(machine.store) as store:
        live = store.deployments.live(model, "production")
        return None if live is None else live.version


def test_no_deploys_nothing_and_yes_does_with_the_figures_of_both_in_the_question(
    machine: Machine, api: AirflowApi, asked: str
):
    run, first = question(api, asked, {"reason": "a try"})
    assert first["subject"] == f"Deploy {asked} version 1 to production?"
    assert "a try" in first["body"]
    assert "Nothing is live there yet" in first["body"]
    assert answer(api, asked, run, "Reject")["deploy"] == "skipped"
    assert live_version(machine, asked) is None

    run, _ = question(api, asked, {"version": 1})
    assert answer(api, asked, run, "Approve")["deploy"] == "success"
    assert live_version(machine, asked) == 1

    run, second = question(api, asked, {"config.C": 0.5})
    assert "Version 1" in second["body"]
    with Store.open(machine.store) as store:
        for version in (1, 2):
            assert f"{store.versions.get(asked, version).metrics['log_loss']:.6g}" in second["body"]
    assert answer(api, asked, run, "Approve")["deploy"] == "success"
    assert live_version(machine, asked) == 2


def test_a_run_may_ask_for_no_question_where_the_environment_is_not_protected(
    machine: Machine, api: AirflowApi, asked: str, projects: Path
):
    run = api.trigger(asked, {"version": 1, "approve": False})
    assert api.wait(asked, run) == "success", failures(api, asked, run)
    assert live_version(machine, asked) == 1
