"""The server with the real client of the project's environment, and a project's own code behind it."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.image_roots import script

from modelyard.serving.limits import processors

from .conftest import FACTS, Start

PREDICT = """
import helper  # the project's own module, beside this one

import httptools_of_the_project


def load(folder):
    return int((folder / "step.txt").read_text())


def predict(step, rows):
    print("something the project prints")
    return [helper.add(row["n"], step) for row in rows]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image of flavor ``python`` whose environment has nothing of Modelyard's."""
    root = tmp_path / "root"
    packages = root / "environment" / "packages"
    packages.mkdir(parents=True)
    (packages / "httptools_of_the_project.py").touch()
    interpreter = f"PYTHONPATH={packages} exec {sys._base_executable} -S"  # type: ignore[attr-defined]
    script(root / "environment" / "bin" / "python", f'{interpreter} "$@"')
    (root / "project").mkdir()
    (root / "project" / "predict.py").write_text(PREDICT)
    (root / "project" / "helper.py").write_text("def add(a, b):\n    return a + b\n")
    (root / "model" / "files").mkdir(parents=True)
    (root / "model" / "files" / "step.txt").write_text("40")
    signature = {
        "kind": "columns",
        "container": "rows",
        "inputs": [{"name": "n", "datatype": "INT64", "shape": [-1], "nullable": False}],
        "outputs": [{"name": "prediction", "datatype": "INT64", "shape": [-1]}],
    }
    description = {
        "format": 1,
        "flavor": "python",
        "files": {"model": "files"},
        "signature": signature,
        "golden": {"inputs": [{"n": 1}], "outputs": {"prediction": [41]}},
    }
    (root / "model" / "modelyard.json").write_text(json.dumps(description))
    return root


def test_the_projects_code_answers(start: Start, root: Path) -> None:
    running = start(root)
    answer = running.post("/predict", [{"n": 2}, {"n": 3}])
    assert [prediction["prediction"] for prediction in answer.json["predictions"]] == [42, 43]
    assert "something the project prints" in running.log.read_text()
    assert "something the project prints" not in running.access_log.read_text()


@pytest.mark.parametrize("odd", ["10**5000", "rows[0]['n'] + 0.5", "'forty'", "{1}", "[]"])
def test_an_answer_that_is_none_of_the_signatures_is_refused_and_costs_no_process(
    start: Start, root: Path, odd: str
) -> None:
    changed = PREDICT.replace("return [", f"return [{odd} if row['n'] == 13 else ")
    (root / "project" / "predict.py").write_text(changed)
    running = start(root)
    pid = running.process.pid
    workers = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    assert running.post("/predict", [{"n": 13}]).status == 422
    assert running.post("/predict", [{"n": 2}]).json["predictions"][0]["prediction"] == 42
    assert Path(f"/proc/{pid}/task/{pid}/children").read_text() == workers


def test_the_model_ends_with_its_server(start: Start, root: Path) -> None:
    running = start(root)
    pid = running.process.pid
    worker = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
    running.process.send_signal(signal.SIGKILL)
    running.process.wait()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{worker}/cmdline").exists() and Path(f"/proc/{worker}/cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_project_that_does_not_load_is_told(start: Start, root: Path) -> None:
    (root / "project" / "helper.py").unlink()
    running = start(root, ready=False)
    assert running.process.wait(20) == 1
    assert "No module named 'helper'" in running.log.read_text()
    assert "cannot start: the model's process ended (exit code 1)" in running.log.read_text()


THREADS = [
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
]
COUNTING = f"""
import os

import numpy  # with an OpenBLAS of its own
import threadpoolctl


def load(folder):
    told = [int(os.environ[name]) for name in {THREADS}]
    return [*told, *(library["num_threads"] for library in threadpoolctl.threadpool_info())]


def predict(threads, rows):
    return [threads[row["n"]] for row in rows]
"""


@pytest.fixture
def threads(start: Start, root: Path, free_port: int) -> Iterator[Callable[..., dict[str, int]]]:
    """Start a server that may use so many processors, and return the threads that its model's process is told of."""
    (root / "environment" / "bin" / "python").unlink()
    (root / "environment" / "bin").rmdir()
    script(root / "environment" / "bin" / "python", f'exec {sys.executable} "$@"')
    (root / "project" / "predict.py").write_text(COUNTING)
    allowed = os.sched_getaffinity(0)

    def counted(processors: int, workers: int = 1, **environment: str) -> dict[str, int]:
        os.sched_setaffinity(0, set(sorted(allowed)[:processors]))
        arguments = ("--workers", str(workers), "--port", str(free_port))
        rows = [{"n": place} for place in range(len(THREADS) + 1)]
        answer = start(root, *arguments, environment=FACTS | environment).post("/predict", rows).json
        return dict(zip([*THREADS, "OpenBLAS"], (one["prediction"] for one in answer["predictions"]), strict=True))

    yield counted
    os.sched_setaffinity(0, allowed)


MOST = processors()


@pytest.mark.parametrize(
    ("allowed", "workers", "each"), [(1, 1, 1), (MOST, 1, MOST), (MOST, MOST, 1), (MOST, MOST + 1, 1)]
)
def test_the_models_libraries_have_a_thread_for_each_processor(
    threads: Callable[..., dict[str, int]], allowed: int, workers: int, each: int
) -> None:
    assert threads(allowed, workers) == dict.fromkeys([*THREADS, "OpenBLAS"], each)


def test_what_a_deployment_says_of_threads_goes_before(threads: Callable[..., dict[str, int]]) -> None:
    told = threads(MOST, OMP_NUM_THREADS="7", TF_NUM_INTEROP_THREADS="5", OPENBLAS_NUM_THREADS="1")
    others = dict.fromkeys(THREADS, MOST)
    assert told == others | {
        "OMP_NUM_THREADS": 7,
        "TF_NUM_INTEROP_THREADS": 5,
        "OPENBLAS_NUM_THREADS": 1,
        "OpenBLAS": 1,
    }
