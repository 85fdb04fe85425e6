"""How long a pipeline takes next to Airflow's own floor: the same number of tasks that do nothing, on the same Airflow.

make bench        or        python tests/benchmarks/bench_pipeline.py
"""

from __future__ import annotations

import json
import os
import tempfile
from datetime import datetime
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from modelyard.demo.machine import Machine
from modelyard.demo.rest import AirflowApi
from modelyard.steps import plan

REPOSITORY = Path(__file__).parents[2]
RUNS = 3
LOCAL_FOLDER = "airflow.dag_processing.bundles.local.LocalDagBundle"
FLOOR = f"""
from airflow.sdk import DAG, chain
from airflow.providers.standard.operators.python import PythonOperator

def nothing():
    pass

with DAG("floor", schedule=None) as dag:
    chain(*[PythonOperator(task_id=name, python_callable=nothing) for name in {[step.name for step in plan.STEPS]!r}])
"""


def main() -> None:
    """Run floor and pipeline in turn and print a table of their wall times, from trigger to end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "floor").mkdir()
        (folder / "floor" / "floor.py").write_text(FLOOR)
        bundles = [
            {"name": name, "classpath": LOCAL_FOLDER, "kwargs": {"path": str(path)}}
            for name, path in (("dags-folder", REPOSITORY / "dags"), ("floor", folder / "floor"))
        ]
        machine = Machine(
            folder / "home",
            REPOSITORY,
            [REPOSITORY / "include" / "examples"],
            os.environ,
            settings={"dag_processor": {"dag_bundle_config_list": json.dumps(bundles)}},
        )
        try:
            machine.start(print)
            with machine.api() as api:
                _measure(api)
        finally:
            machine.stop(print)


def _measure(api: AirflowApi) -> None:
    for dag_id in ("floor", "wine"):
        api.wait_for_dag(dag_id)
    _run(api, "floor")  # the first run of an Airflow pays for what later ones find imported
    first, first_training = _run(api, "wine")
    floors, later = [], []
    for _ in range(RUNS):
        floors.append(_run(api, "floor")[0])
        later.append(_run(api, "wine"))
    rows = {
        f"floor: {len(plan.STEPS)} empty tasks": floors,
        "wine, first run (builds its environment)": [first],
        "  first, without training": [first - first_training],
        "wine, later runs": [whole for whole, _ in later],
        "  later, without training": [whole - training for whole, training in later],
        "  later, without training, over the floor": [
            whole - training - floor for (whole, training), floor in zip(later, floors, strict=True)
        ],
    }
    table = Table("seconds", "minimum", "median", "maximum", title="Pipeline wall time (aim: floor + 20 s)")
    for label, values in rows.items():
        table.add_row(label, *(f"{value:.1f}" for value in (min(values), median(values), max(values))))
    Console().print(table)


def _run(api: AirflowApi, dag_id: str) -> tuple[float, float]:
    """Return how long a run took, and how long its training did."""
    run_id = api.trigger(dag_id, {})
    if (state := api.wait(dag_id, run_id, seconds=1800)) != "success":
        raise SystemExit(f"The run {run_id} of {dag_id} ended as {state}")
    run = api.run(dag_id, run_id)
    training = next((task.seconds or 0.0 for task in api.tasks(dag_id, run_id) if task.task_id == "train"), 0.0)
    whole = datetime.fromisoformat(run["end_date"]) - datetime.fromisoformat(run["queued_at"])
    return whole.total_seconds(), training if dag_id != "floor" else 0.0


if __name__ == "__main__":
    main()
