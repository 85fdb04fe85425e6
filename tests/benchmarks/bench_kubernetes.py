"""How long a pipeline of pods takes: beside as many tasks that do nothing, and beside the same pods without Airflow.

make bench        or, with KUBECONFIG set,        python tests/benchmarks/bench_kubernetes.py

A step costs its task's time, without the time that its own process runs and without what an empty task takes.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from statistics import median
from typing import Any, Self

import psutil
import pytest
from rich.console import Console
from rich.table import Table
from tests.kubernetes.conftest import Yard

from modelyard.demo.rest import AirflowApi
from modelyard.demo.show import failures
from modelyard.execution import Command
from modelyard.execution.kubernetes import Secrets, step_pod
from modelyard.execution.secrets import secret_name
from modelyard.images import open_images
from modelyard.provider_info import CONNECTION_ID
from modelyard.steps import plan
from modelyard.store import Store, pipeline_run_id

RUNS = 3
STEPS = [step.name for step in plan.STEPS]
FLOOR = f"""
from airflow.sdk import DAG, chain
from airflow.providers.standard.operators.python import PythonOperator

def nothing():
    pass

with DAG("floor", schedule=None) as dag:
    chain(*[PythonOperator(task_id=name, python_callable=nothing) for name in {STEPS!r}])
"""


class OwnWork(threading.Thread):
    """How long the process of each step has run, from its first line to its exit, watched on this machine."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seconds: dict[str, float] = {}
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Look until it is over."""
        watched: dict[str, psutil.Process] = {}
        while not self._over.wait(0.02):
            for process in psutil.process_iter(["cmdline"]):
                words = process.info["cmdline"] or []
                if "--pipeline-run" in words and words[1:3] == ["-m", "modelyard"]:
                    watched.setdefault(words[words.index("step") + 1], process)
            for step, process in list(watched.items()):
                if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                    self.seconds[step] = time.time() - process.create_time()
                    del watched[step]


def test_table(yard: Yard, api: AirflowApi) -> None:
    (yard.dags / "floor.py").write_text(FLOOR)
    for dag_id in ("floor", "tiny"):
        api.wait_for_dag(dag_id)
    timed(api, "floor")  # the first run of an Airflow pays for what later ones find imported
    rows: dict[str, list[float]] = {}

    def add(label: str, value: float) -> None:
        rows.setdefault(label, []).append(value)

    with OwnWork():
        add("first run", timed(api, "tiny")[0])
    for _ in range(RUNS):
        floor, _ = timed(api, "floor")
        add(f"floor: {len(STEPS)} empty tasks", floor)
        with OwnWork() as work:
            whole, tasks = timed(api, "tiny")
        add("later runs", whole)
        add("  the steps' own work", sum(work.seconds.values()))
        add("  a step beyond its own work and an empty task", (whole - sum(work.seconds.values()) - floor) / len(STEPS))
        for step in STEPS:
            add(f"    task {step}", tasks[step])
            add(f"    own work {step}", work.seconds[step])
        add("the same pods without Airflow", sum(alone(yard).values()))
    table = Table("seconds", "minimum", "median", "maximum", title="Pipeline of pods (aim: a step costs at most 1.5 s)")
    for label, values in rows.items():
        table.add_row(label, *(f"{value:.1f}" for value in (min(values), median(values), max(values))))
    Console().print(table)


def timed(api: AirflowApi, dag_id: str) -> tuple[float, dict[str, float]]:
    """Return how long a run took, and each of its tasks."""
    run_id = api.trigger(dag_id, {})
    assert api.wait(dag_id, run_id, seconds=1800) == "success", failures(api, dag_id, run_id)
    run = api.run(dag_id, run_id)
    whole = datetime.fromisoformat(run["end_date"]) - datetime.fromisoformat(run["queued_at"])
    return whole.total_seconds(), {task.task_id: task.seconds or 0.0 for task in api.tasks(dag_id, run_id)}


def alone(yard: Yard) -> dict[str, float]:
    """Start the pods of one more run as Airflow would, each when the one before has ended; return what each took."""
    ground, took = yard.ground, {}
    store_secret = secret_name(CONNECTION_ID, ground.store.installation)
    git_secret = secret_name("projects_git", ground.store.installation)
    with Store.open(ground.store) as store:
        key = store.deployments.history("tiny", "production")[0].pipeline_run
        assert key is not None
        last = store.pipelines.get(key)
        name = f"alone-{time.time()}"
        run = store.pipelines.open(
            replace(
                last,
                id=pipeline_run_id(ground.store.installation, "tiny", name),
                run_id=name,
                created_at=datetime.now(UTC),
            )
        )
        images = open_images(ground.store, yard.machine.home)
        for step in STEPS:
            beside = plan.beside(step, run, store)
            command = Command(step, run.id, image=plan.image(step, run, store), beside=beside)
            pod = step_pod(
                command,
                runner_image=ground.runner_image,
                secrets=Secrets(store_secret, git_secret if step == "prepare" else None),
                images_beside={key: images.reference(one.repository, one.digest) for key, one in beside.items()},
                deadline_seconds=600,
            )
            began = time.monotonic()
            ground.core.create_namespaced_pod(ground.namespace, pod)
            while (phase := _phase(ground, pod)) in ("Pending", "Running"):
                time.sleep(0.05)
            took[step] = time.monotonic() - began
            assert phase == "Succeeded", ground.core.read_namespaced_pod_log(pod["metadata"]["name"], ground.namespace)
            ground.core.delete_namespaced_pod(pod["metadata"]["name"], ground.namespace)
    return took


def _phase(ground: Any, pod: dict[str, Any]) -> str:
    status = ground.core.read_namespaced_pod(pod["metadata"]["name"], ground.namespace).status
    return str(status.phase)


if __name__ == "__main__":
    sys.exit(pytest.main(["-q", "-s", "--timeout", "3600", __file__]))
