"""How long Airflow takes to read the DAGs of many projects: `python tests/benchmarks/bench_parse.py [PROJECTS]`.

Each row is a process of its own, five times. What counts is what is beyond the import of Airflow and of the operators,
which every DAG file that uses them pays: at most a second for 200 projects, and next to nothing in a worker, which
reads the one project it runs. The same number of DAGs of as many empty operators is Airflow's own share.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "include" / "examples" / "wine" / "model.lock.json"
ROUNDS = 5

IMPORTS = """
import time
import airflow.sdk
import model_store.pipeline
from model_store.run import versions_asset
versions_asset("any")  # Airflow loads every provider's rules for addresses of assets at the first one
start = time.perf_counter()
"""
EMPTY = """
from airflow.sdk import DAG, chain
from airflow.providers.standard.operators.empty import EmptyOperator
for number in range({count}):
    with DAG(f"empty-{{number}}", schedule=None):
        chain(*[EmptyOperator(task_id=f"task{{task}}") for task in range(8)])
"""
PROJECTS = """
import runpy
dags = runpy.run_path({file!r})
found = sum(type(value).__name__ == "DAG" for value in dags.values())
assert found == {expected}, found
"""
END = "print(time.perf_counter() - start)"


def seconds(program: str, folder: Path, wanted: str | None = None) -> list[float]:
    """Return what the part of ``program`` after its imports takes, each time in a new process."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(REPOSITORY / "plugins"),
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__MODELYARD__PROJECTS": str(folder / "projects"),
        **({} if wanted is None else {"_AIRFLOW_PARSING_CONTEXT_DAG_ID": wanted}),
    }
    taken = []
    for _ in range(ROUNDS):
        command = [sys.executable, "-c", IMPORTS + program + END]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        taken.append(float(result.stdout.splitlines()[-1]))
    return taken


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("projects", nargs="?", type=int, default=200)
    count = parser.parse_args().projects
    file = str(REPOSITORY / "dags" / "modelyard_projects.py")
    with tempfile.TemporaryDirectory(prefix="bench-parse-") as name:
        folder = Path(name)
        lock = json.loads(EXAMPLE.read_bytes())
        for number in range(count):
            project = folder / "projects" / f"model-{number}"
            project.mkdir(parents=True)
            lock["project"]["name"] = project.name
            (project / "model.lock.json").write_text(json.dumps(lock))
        rows = {
            f"{count} DAGs of 8 empty operators": seconds(EMPTY.format(count=count), folder),
            f"{count} projects, as the DAG processor reads them": seconds(
                PROJECTS.format(file=file, expected=count), folder
            ),
            "one of them, as a worker reads it": seconds(
                PROJECTS.format(file=file, expected=1), folder, f"model-{count // 2}"
            ),
        }
    print(f"{'seconds beyond the imports':<50} {'minimum':>9} {'median':>9} {'maximum':>9}")
    for what, taken in rows.items():
        print(f"{what:<50} {min(taken):9.3f} {statistics.median(taken):9.3f} {max(taken):9.3f}")


if __name__ == "__main__":
    main()
