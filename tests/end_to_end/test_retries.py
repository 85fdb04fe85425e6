"""Every step's process is killed once, at a random moment; Airflow's retry goes on from what is there."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from typing import Any

import httpx
from tests.fixtures_machine import example_of, succeed
from tests.processes import below

from modelyard.demo.machine import Machine
from modelyard.demo.rest import AirflowApi
from modelyard.store import Store


class Killer(threading.Thread):
    """Kills the first process of each step of a model, at a moment between its start and when it should be done.

    Args:
        airflow: the process that all tasks are below.
        seconds: how long each step takes undisturbed.
    """

    def __init__(self, airflow: int, seconds: dict[str, float], moments: random.Random) -> None:
        super().__init__(daemon=True)
        self.killed: set[str] = set()
        self._airflow = airflow
        self._moments = {step: moments.uniform(0.2, 1.0) * took for step, took in seconds.items()}
        self._over = threading.Event()

    def run(self) -> None:
        """Look, wait, kill, until stopped."""
        while not self._over.wait(0.01):
            for process in below(self._airflow):
                words = process.command.split()
                if "--pipeline-run" not in words or words[words.index("--pipeline-run") - 1] in self.killed:
                    continue
                step = words[words.index("--pipeline-run") - 1]
                time.sleep(self._moments[step])
                self.killed.add(step)  # or was too late: it is left alone from now on, as its next try is
                if process.alive:
                    os.kill(process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """End it."""
        self._over.set()
        self.join()


def test_a_run_whose_every_step_is_killed_once_ends_as_an_undisturbed_one(machine: Machine, api: AirflowApi):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    succeed(api, "wine", {"config.C": 0.8})  # builds the environment: later runs find it
    calm = succeed(api, "wine", {"config.C": 0.8})
    took = {task.task_id: float(task.seconds or 0) for task in api.tasks("wine", calm)}
    state = machine.airflow._read()
    assert state is not None
    killer = Killer(state.pid or 0, took, random.Random(seed))
    killer.start()
    try:
        shaken = succeed(api, "wine", {"config.C": 0.8})
    finally:
        killer.stop()
    tries = {task.task_id: task.try_number for task in api.tasks("wine", shaken)}
    assert sum(number > 1 for number in tries.values()) >= len(tries) // 2, tries

    first, second = (left(machine, api, run) for run in (calm, shaken))
    assert second["version"] == first["version"] + 1
    assert second["image_digest"] == first["image_digest"]
    assert second["metrics"] == first["metrics"]
    assert (second["moves"], second["deployments"]) == (1, 1)
    assert second["runs"].count("COMPLETED") == 1
    assert set(second["runs"]) <= {"COMPLETED", "INTERRUPTED"}
    answer = httpx.post(f"{second['address']}/predict", json=example_of(second["address"]))
    assert answer.headers["modelyard-model-version"] == str(second["version"])


def left(machine: Machine, api: AirflowApi, run: str) -> dict[str, Any]:
    """Return what a run has left that counts."""
    deployed = api.xcom("wine", run, "deploy")
    with Store.open(machine.store) as store:
        version = store.versions.get("wine", deployed["version"])
        alias = store.aliases.get("wine", "production")
        history = store.deployments.history("wine", "production")
        pipeline_run = history[0].pipeline_run
        runs = store.mongo[store.address.database]["runs"].find({"meta.modelyard.pipeline_run": pipeline_run})
        assert alias is not None
        return {
            "version": version.version,
            "image_digest": version.image_digest,
            "metrics": version.metrics,
            "address": deployed["address"],
            "moves": sum(move.to_version == version.version for move in alias.history),
            "deployments": sum(one.version == version.version for one in history),
            "runs": [document["status"] for document in runs],
        }
