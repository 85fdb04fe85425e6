import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from modelyard.background import Session
from modelyard.demo.airflow import USER, AirflowServer
from modelyard.demo.rest import AirflowApi
from modelyard.errors import NotFound, RequestError, Unavailable

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
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowServer]:
    folder = tmp_path_factory.mktemp("airflow")
    for name in ("dags", "plugins"):
        (folder / name).mkdir()
    (folder / "dags" / "sums.py").write_text(DAG)
    server = AirflowServer(
        folder / "air flow",
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


def test_a_run_with_conf_goes_through_and_shows_its_tasks_in_order(api: AirflowApi):
    api.wait_for_dag("sums")
    run = api.trigger("sums", {"count": 41})
    assert api.wait("sums", run, seconds=60) == "success"
    assert [(task.task_id, task.state, task.try_number) for task in api.tasks("sums", run)] == [
        ("first", "success", 1),
        ("second", "success", 1),
    ]
    assert api.xcom("sums", run, "second") == 42
    assert any("counting from 41" in line for line in api.log("sums", run, "first", 1))


def test_a_refusal_is_airflows_own_words(api: AirflowApi, server: AirflowServer):
    with pytest.raises(RequestError, match=r"400.*count"):
        api.trigger("sums", {"count": 0})
    with pytest.raises(NotFound):
        api.wait_for_dag("nobody", seconds=0)
    with pytest.raises(RequestError, match="401"):
        AirflowApi(server.url, USER, "guess")


def test_a_connection_is_made_once_and_then_changed(api: AirflowApi):
    api.put_connection("store", {"conn_type": "mongo", "host": "first", "extra": "{}"})
    api.put_connection("store", {"conn_type": "mongo", "host": "second", "extra": "{}"})
    assert api.get("/connections/store")["host"] == "second"


def test_a_second_start_finds_it_running_and_a_stop_leaves_nothing(server: AirflowServer, tmp_path: Path):
    state = server._read()
    assert state is not None
    assert server.start() == server.url
    assert server._read() == state
    for file in ("airflow.cfg", "passwords.json", "server.json", "fernet_key.key"):
        assert stat.S_IMODE((server._folder / file).stat().st_mode) == 0o600

    url = server.url
    assert server.stop()
    assert not server.stop()
    assert not Session(state.pid or 0, "").end(grace=0)
    for port in (state.port, state.worker_log_port, state.trigger_log_port):
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", port)) != 0
    with pytest.raises(Unavailable, match="does not answer"):
        AirflowApi(url, USER, server.password)


def test_a_start_that_fails_says_why_and_leaves_nothing(tmp_path: Path):
    server = AirflowServer(
        tmp_path / "airflow",
        dags=tmp_path,
        plugins=tmp_path,
        projects=[],
        home=tmp_path,
        environment=os.environ,
        settings={"core": {"executor": "NoSuchExecutor"}},
    )
    with pytest.raises(Unavailable, match=r"ended while it was starting.*NoSuchExecutor"):
        server.start()
    assert not server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)
