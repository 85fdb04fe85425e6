"""How long a pipeline of pods takes: beside as many tasks that do nothing, and beside the same pods without Airflow.

make bench        or, with KUBECONFIG set,        pytest -q -s tests/benchmarks/bench_kubernetes.py

A step costs its task's time, without the time that its own process runs and without what an empty task takes.
"""

from __future__ import annotations

import sys
import time
from datetime import datetime
from statistics import median

import psutil
import pytest
from rich.console import Console
from rich.table import Table
from tests.fixtures_cluster import TestCluster
from tests.kubernetes.cluster_load import cluster_load
from tests.kubernetes.conftest import Yard
from tests.kubernetes.step_processes import Watch, step_processes
from tests.kubernetes.stepping import Pods
from tests.kubernetes.test_roll_outs import change
from tests.model_images import ModelImages

from modelyard.demo.rest import AirflowApi
from modelyard.demo.show import failures
from modelyard.deployment.kubernetes import KubernetesTarget
from modelyard.steps import plan
from modelyard.store import Store

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


class OwnWork(Watch):
    """How long the process of each step has run, from its first line to its exit, watched on this machine."""

    def __init__(self) -> None:
        super().__init__(pause=0.02)
        self.seconds: dict[str, float] = {}
        self._watched: dict[str, psutil.Process] = {}

    def look(self) -> None:
        """Take up new processes, and note those that have ended."""
        for step, process in step_processes():
            self._watched.setdefault(step, process)
        for step, process in list(self._watched.items()):
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                self.seconds[step] = time.time() - process.create_time()
                del self._watched[step]


def test_pipeline(yard: Yard, api: AirflowApi) -> None:
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
        add("the same pods without Airflow", alone(yard))
    show("Pipeline of pods (aim: a step costs at most 1.5 s)", rows)


def test_roll_outs(cluster: TestCluster, namespace: str, target: KubernetesTarget, model_images: ModelImages) -> None:
    rows: dict[str, list[float]] = {}

    def add(what: str, seconds: tuple[float, float, float]) -> None:
        for row, value in zip(("is ready", "has all traffic", "is told to be live"), seconds, strict=True):
            rows.setdefault(f"{what}: {row}", []).append(value)

    specs = [model_images.spec(namespace, version, replicas=2) for version in range(1, RUNS + 3)]
    target.deploy(specs[0], print)
    with cluster_load(cluster, namespace) as load:
        load.wait_for(1000)
        for spec in specs[1:]:
            add("new version", change(cluster, target, spec, load, spec.version - 1))
        for turn in range(RUNS):
            to, replaced = (1, len(specs)) if turn % 2 == 0 else (len(specs), 1)
            back = model_images.spec(namespace, to, replicas=2, generation=len(specs) + 1 + turn)
            add("rolled back", change(cluster, target, back, load, replaced))
        rows["failed requests"] = [float(len(load.failures))]
    show("Roll-outs under 16 clients (aim: all traffic 5 s after ready)", rows)


def show(title: str, rows: dict[str, list[float]]) -> None:
    """Print a table of seconds."""
    table = Table("seconds", "minimum", "median", "maximum", title=title)
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


def alone(yard: Yard) -> float:
    """Run the pods of one more run, each when the one before has ended; return what they took."""
    with Store.open(yard.ground.store) as store:
        pods = Pods(yard.ground, store, yard.ground.repositories / "tiny")
        began = time.monotonic()
        for step in STEPS:
            phase, said = pods.step(step)
            assert phase == "Succeeded", said
        return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(pytest.main(["-q", "-s", "--timeout", "3600", __file__]))
