"""One whole machine for the end-to-end and browser tests: a real Airflow with the DAGs and plugins of this repository,
an embedded store, the examples, and a folder where a test adds projects of its own."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelyard.demo.machine import Machine
from modelyard.demo.rest import AirflowApi
from modelyard.demo.show import failures

REPOSITORY = Path(__file__).parent.parent
EXAMPLES = REPOSITORY / "include" / "examples"

takes_long = pytest.mark.skipif("MODELYARD_FAULTS" not in os.environ, reason="takes a minute: make test-faults")

LOCAL_FOLDER = "airflow.dag_processing.bundles.local.LocalDagBundle"


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """All of it, running; nothing of it runs after the session."""
    folder = tmp_path_factory.mktemp("machine")
    for name in ("projects", "dags"):
        (folder / name).mkdir()
    bundles = [
        {"name": "modelyard", "classpath": LOCAL_FOLDER, "kwargs": {"path": str(REPOSITORY / "dags")}},
        {"name": "own", "classpath": LOCAL_FOLDER, "kwargs": {"path": str(folder / "dags"), "refresh_interval": 2}},
    ]
    # What a person can wait for is too slow for a test.
    quick = {
        "min_file_process_interval": "2",
        "refresh_interval": "5",
        "dag_bundle_config_list": json.dumps(bundles),
    }
    settings = {"dag_processor": quick}
    machine = Machine(folder / "home", REPOSITORY, [EXAMPLES, folder / "projects"], os.environ, settings=settings)
    try:
        machine.start(print)
        yield machine
    finally:
        machine.stop(print)


@pytest.fixture
def api(machine: Machine) -> Iterator[AirflowApi]:
    with machine.api() as api:
        yield api


@pytest.fixture
def projects(machine: Machine) -> Path:
    """The folder of projects beside the examples."""
    return machine.home.parent / "projects"


@pytest.fixture
def own_dags(machine: Machine) -> Path:
    """A folder of DAG files that are none of Modelyard's."""
    return machine.home.parent / "dags"


def succeed(api: AirflowApi, dag_id: str, conf: dict[str, Any]) -> str:
    """Run a DAG with this conf to its good end and return the run's id; a failure is told with each task's error."""
    api.wait_for_dag(dag_id)
    run = api.trigger(dag_id, conf)
    assert api.wait(dag_id, run) == "success", failures(api, dag_id, run)
    return run


def fail(api: AirflowApi, dag_id: str, conf: dict[str, Any]) -> dict[str, str]:
    """Run a DAG with this conf to its bad end and return the error of each task that failed."""
    api.wait_for_dag(dag_id)
    run = api.trigger(dag_id, conf)
    assert api.wait(dag_id, run) == "failed"
    return failures(api, dag_id, run)


def example_of(address: str) -> dict[str, Any]:
    """Return the request that a service's own documentation gives as its example."""
    operation = httpx.get(f"{address}/openapi.json").raise_for_status().json()["paths"]["/predict"]["post"]
    example: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["example"]
    return example


def copy_of(example: str, folder: Path, name: str, *changes: tuple[str, str]) -> Path:
    """Copy an example to a project of another name, with changes of text in its model.yaml."""
    project = folder / name
    shutil.copytree(EXAMPLES / example, project)
    document = project / "model.yaml"
    text = document.read_text().replace(f"name: {example}\n", f"name: {name}\n")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    document.write_text(text)
    return project


def wait_until(condition: Any, seconds: float, what: str) -> Any:
    """Return the first true value of ``condition()``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds:g} s"
        time.sleep(0.5)
    return value


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", action="store_true", help="take the README's pictures of Airflow anew")
