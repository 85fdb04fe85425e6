"""Whatever is taken away while a step's pod runs, Airflow's retry ends as if nothing had been.

``MODELYARD_FAULTS`` is the number of walks down the line; each gives every step one fault, and four of them give every
step all four. The moments follow from ``MODELYARD_FAULTS_SEED``, which is printed.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures_machine import succeed, wait_until
from tests.kubernetes.conftest import Yard
from tests.pipeline.test_faults import took
from tests.processes import below
from tests.yard import step_records

from modelyard.background import Session, spawn
from modelyard.demo.rest import ENDED, AirflowApi
from modelyard.demo.show import failures
from modelyard.steps import plan
from modelyard.store import Store, pipeline_run_id

WALKS = int(os.environ.get("MODELYARD_FAULTS", "1"))
ROLLBACK = "modelyard-rollback"
NOTE = "modelyard.io/try"  # which try of the task waits for a pod

pytestmark = pytest.mark.timeout(900 * (WALKS + 1))


@dataclass
class Scheduler:
    """The scheduler of an Airflow that may lose it."""

    yard: Yard
    started: Session | None = None

    def kill(self) -> None:
        """SIGKILL it and all its workers, and start another one."""
        state = self.yard.machine.airflow._read()
        assert state is not None
        standalone = state.pid or 0
        parent = standalone if self.started is None else os.getpid()
        (scheduler,) = (one for one in below(parent) if one.command.endswith("airflow scheduler") and one.alive)
        for process in [scheduler, *below(scheduler.pid)]:
            if process.alive:
                os.kill(process.pid, signal.SIGKILL)
        variables = Path(f"/proc/{standalone}/environ").read_bytes().decode().split("\0")
        environment = dict(variable.split("=", 1) for variable in variables if variable)
        command = [environment["PATH"].split(":")[0] + "/airflow", "scheduler"]
        log = Path(environment["AIRFLOW_HOME"]) / "scheduler.log"
        self.started = Session.of(spawn(command, log, log.parent, environment))

    def end(self) -> None:
        """End the one that was started here."""
        if self.started is not None:
            self.started.end(10)


@dataclass(frozen=True)
class Started:
    """A step of a run, whose pod runs.

    Attributes:
        pod: as it was when it was found.
    """

    yard: Yard
    api: AirflowApi
    scheduler: Scheduler
    dag_id: str
    run: str
    step: str
    pod: Any


def kill_worker(started: Started) -> None:
    """End the task's process and the worker that watches it, as when their machine is gone."""
    path = f"/dags/{started.dag_id}/dagRuns/{started.run}/taskInstances/{started.step}"
    task = started.api.get(path)["pid"]
    worker = int(Path(f"/proc/{task}/stat").read_text().rpartition(")")[2].split()[1])
    for process in (worker, task):
        os.kill(process, signal.SIGKILL)


def kill_scheduler(started: Started) -> None:
    """End the scheduler with all its workers; there is another one soon."""
    started.scheduler.kill()


def kill_pod(started: Started) -> None:
    """SIGKILL its containers, and forget it at once."""
    metadata = started.pod.metadata
    started.yard.ground.core.delete_namespaced_pod(metadata.name, metadata.namespace, grace_period_seconds=0)


def evict(started: Started) -> None:
    """Take its place on the node, as when that is drained."""
    metadata = started.pod.metadata
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": metadata.name}}
    started.yard.ground.core.create_namespaced_pod_eviction(metadata.name, metadata.namespace, body)


FAULTS: dict[str, Callable[[Started], None]] = {
    "worker": kill_worker,
    "pod": kill_pod,
    "scheduler": kill_scheduler,
    "eviction": evict,
}
OUTLIVED = ("worker", "scheduler")  # by the pod: the next try takes it up


@pytest.fixture(scope="module")
def seed() -> int:
    return int(os.environ.get("MODELYARD_FAULTS_SEED") or random.SystemRandom().randrange(1 << 32))


@pytest.fixture(scope="package")
def scheduler(yard: Yard) -> Iterator[Scheduler]:
    """Whoever comes afterwards has the one that was started last."""
    found = Scheduler(yard)
    yield found
    found.end()


def test_a_run_whose_every_step_meets_a_fault_ends_as_an_undisturbed_one(
    yard: Yard, api: AirflowApi, scheduler: Scheduler, seed: int
) -> None:
    print(f"MODELYARD_FAULTS_SEED={seed}")
    moments = random.Random(seed)
    conf = {"config.threshold": 0.55, "config.pause": 3.0}
    calm = succeed(api, "tiny", conf)
    expected = left(yard, api, calm)
    with Store.open(yard.ground.store) as store:
        records = step_records(store, pipeline_run_id(yard.ground.store.installation, "tiny", calm))
    seconds = {step: took(record) for step, record in records.items()}
    seconds["rollback"] = seconds["deploy"]
    print("undisturbed:", {step: round(value, 2) for step, value in seconds.items()})

    names = list(FAULTS)
    first = moments.randrange(len(names))
    met = 0
    for walk in range(WALKS):
        faults = {step: names[(first + walk + index) % len(names)] for index, step in enumerate(seconds)}
        # Long enough that the next try finds the pod still running.
        longer = {"config.pause": 45.0} if faults["train"] in OUTLIVED else {}
        run = api.trigger("tiny", conf | longer)
        for step in plan.STEPS:
            met += disturbed(yard, api, scheduler, "tiny", run, step.name, faults[step.name], seconds, moments)
        assert api.wait("tiny", run) == "success", failures(api, "tiny", run)
        shaken = left(yard, api, run)
        assert shaken["version"] == expected["version"] + 1
        assert {key: shaken[key] for key in shaken if key != "version"} == {
            key: expected[key] for key in expected if key != "version"
        }

        conf_back = {"model": "tiny", "version": expected["version"], "environment": "production", "reason": "a test"}
        run = api.trigger(ROLLBACK, conf_back)
        met += disturbed(yard, api, scheduler, ROLLBACK, run, "rollback", faults["rollback"], seconds, moments)
        assert api.wait(ROLLBACK, run) == "success", failures(api, ROLLBACK, run)
        assert served(yard) == str(expected["version"])
        with Store.open(yard.ground.store) as store:
            alias = store.aliases.get("tiny", "production")
            assert alias is not None
            assert alias.version == expected["version"]
        expected = expected | {"version": shaken["version"]}
    assert met >= WALKS * len(seconds) * 2 // 3, "most faults came after their step's end"


def disturbed(
    yard: Yard,
    api: AirflowApi,
    scheduler: Scheduler,
    dag_id: str,
    run: str,
    step: str,
    fault: str,
    seconds: dict[str, float],
    moments: random.Random,
) -> bool:
    """Have a step meet a fault at a random moment of its pod's life, and wait until the step has ended well.

    Returns:
        Whether it came in time.
    """
    key = pipeline_run_id(yard.ground.store.installation, dag_id, run)[:16]

    def pod() -> Any:
        found = yard.ground.core.list_namespaced_pod(
            yard.ground.namespace, label_selector=f"modelyard.io/step={step},modelyard.io/pipeline-run={key}"
        ).items
        alive = [one for one in found if one.status.phase == "Running" and one.metadata.deletion_timestamp is None]
        return alive[0] if alive else None

    def ended() -> str | None:
        return next((one.state for one in api.tasks(dag_id, run) if one.task_id == step and one.state in ENDED), None)

    wait_until(lambda: pod() or ended() or api.run(dag_id, run)["state"] in ENDED, 300, f"a pod of {step}")
    moment = moments.uniform(0, seconds[step] + 0.5)  # of the pod: its process takes a while to get to its claim
    time.sleep(moment)
    before = pod()
    in_time = before is not None and ended() is None
    print(f"{step}: {fault} {'killed' if in_time else 'too late'} at {moment:.2f} s", flush=True)
    if not in_time:
        return False
    FAULTS[fault](Started(yard, api, scheduler, dag_id, run, step, before))
    taken_up: list[Any] = []  # the pod as it was since the next try had found it still running, and put its note on it

    def over() -> bool:
        now = pod()
        noted = now is not None and now.metadata.annotations[NOTE] != before.metadata.annotations[NOTE]
        if noted and (taken_up or now.metadata.uid == before.metadata.uid):
            taken_up[:] = [now]
        return ended() is not None or api.run(dag_id, run)["state"] in ENDED

    began = time.monotonic()
    wait_until(over, 300, f"the end of {step}")
    assert ended() == "success", failures(api, dag_id, run)
    print(f"{step}: over {time.monotonic() - began:.1f} s later{', the same pod' * bool(taken_up)}", flush=True)
    if fault in OUTLIVED and step == "train":
        assert taken_up, "the next try did not find the pod that ran"
    if fault in OUTLIVED and taken_up:
        assert taken_up[0].metadata.uid == before.metadata.uid, f"{step}: another pod though the first one still ran"
        assert taken_up[0].status.container_statuses[0].restart_count == 0
    return True


def served(yard: Yard) -> str:
    """Return which version answers."""
    answer = yard.ask({"rows": [{"x": 0.6}]})
    assert answer["predictions"] == [{"prediction": "high"}]
    return str(answer["model_version"])


def left(yard: Yard, api: AirflowApi, run: str) -> dict[str, Any]:
    """Return what a run has left that counts."""
    deployed = api.xcom("tiny", run, "deploy")
    key = pipeline_run_id(yard.ground.store.installation, "tiny", run)
    with Store.open(yard.ground.store) as store:
        version = store.versions.get("tiny", deployed["version"])
        alias = store.aliases.get("tiny", "production")
        history = store.deployments.history("tiny", "production")
        runs = list(store.mongo[yard.ground.store.database]["runs"].find({"meta.modelyard.pipeline_run": key}))
        steps = step_records(store, key)
    assert alias is not None
    assert {document["status"] for document in runs} <= {"COMPLETED", "INTERRUPTED"}
    assert [document["_id"] for document in runs if document["status"] == "COMPLETED"] == [version.run_id]
    assert served(yard) == str(version.version)
    return {
        "version": version.version,
        "alias": alias.version == version.version,
        "image_digest": version.image_digest,
        "model": version.model,
        "moves": sum(move.to_version == version.version for move in alias.history),
        "deployments": [(one.state, one.image_digest) for one in history if one.version == version.version],
        "steps": {step: record.state for step, record in steps.items()},
    }
