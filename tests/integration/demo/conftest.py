"""An Airflow with two small DAGs of its own: the demo's parts are tested without any of Modelyard's pipeline."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.demo.airflow import USER, AirflowServer
from modelyard.demo.rest import AirflowApi

EXAMPLE = Path(__file__).parents[3] / "airflow.cfg.example"

DAG = """
import os
from airflow.sdk import DAG, Param, task

with DAG("sums", schedule=None, params={"count": Param(1, type="integer", minimum=1)}) as dag:

    @task
    def second(found):
        return found + 1

    @task
    def first(**context):
        print("counting from", context["params"]["count"])
        assert "MODELYARD_MONGO_URI" not in os.environ
        return context["params"]["count"]

    second(first())

with DAG("breaks", schedule=None) as breaks:

    @task
    def fine():
        return 1

    @task(retries=0)
    def bad(found):
        print("so far so good")
        raise RuntimeError("the reason why")

    @task
    def never(found):
        return found

    never(bad(fine()))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowServer]:
    folder = tmp_path_factory.mktemp("airflow")
    for name in ("dags", "plugins"):
        (folder / name).mkdir()
    (folder / "dags" / "sums.py").write_text(DAG)
    server = AirflowServer(
        folder / "air flow",
        example=EXAMPLE,
        dags=folder / "dags",
        plugins=folder / "plugins",
        projects=[],
        home=folder,
        environment={**os.environ, "MODELYARD_MONGO_URI": "mongodb://user:secret@host/", "AIRFLOW__API__PORT": "1"},
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture
def api(server: AirflowServer) -> Iterator[AirflowApi]:
    with AirflowApi(server.url, USER, server.password) as api:
        yield api
