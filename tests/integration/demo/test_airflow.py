"""One Airflow serves all these tests; the last but one ends it."""

import io
import json
import os
import re
import socket
import stat
from pathlib import Path

import httpx
import pytest
from rich.console import Console
from tests.integration.demo.conftest import EXAMPLE

from modelyard.background import Session
from modelyard.demo.airflow import USER, AirflowServer
from modelyard.demo.rest import AirflowApi
from modelyard.demo.show import failures, follow
from modelyard.errors import NotFound, RequestError, Unavailable


def test_a_run_with_conf_goes_through_and_shows_its_tasks_in_order(api: AirflowApi):
    api.wait_for_dag("sums")
    run = api.trigger("sums", {"count": 41})
    assert api.wait("sums", run, seconds=60) == "success"
    assert [(task.task_id, task.state, task.try_number) for task in api.tasks("sums", run)] == [
        ("first", "success", 1),
        ("second", "success", 1),
    ]
    assert api.xcom("sums", run, "second") == 42
    assert any("counting from 41" in record["event"] for record in api.log("sums", run, "first", 1))


def test_a_refusal_is_airflows_own_words(api: AirflowApi, server: AirflowServer):
    with pytest.raises(RequestError, match=r"400.*count"):
        api.trigger("sums", {"count": 0})
    with pytest.raises(NotFound):
        api.wait_for_dag("nobody", seconds=0)
    with pytest.raises(RequestError, match="401"):
        AirflowApi(server.url, USER, "guess")


def test_a_connection_is_made_once_and_then_changed(api: AirflowApi):
    api.put_connection("store", {"conn_type": "mongo", "host": "first"})
    api.put_connection("store", {"conn_type": "mongo", "host": "second", "extra": {"tls": True}})
    kept = api.get("/connections/store")
    assert kept["host"] == "second"
    assert json.loads(kept["extra"]) == {"tls": True}


def shown(api: AirflowApi, dag_id: str, *, terminal: bool) -> tuple[str, str, str]:
    api.wait_for_dag(dag_id)
    run = api.trigger(dag_id, {})
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=120, color_system=None)
    return run, follow(api, dag_id, run, console), output.getvalue()


def test_a_file_gets_a_line_for_each_change(api: AirflowApi):
    _, state, output = shown(api, "sums", terminal=False)
    assert state == "success"
    lines = [line.split()[:2] for line in output.splitlines()]
    assert ["first", "success"] in lines
    assert lines[-1] == ["second", "success"]
    assert len(lines) == len({tuple(line) for line in lines})


def test_a_terminal_gets_a_table_and_a_failure_is_told_by_its_error(api: AirflowApi):
    run, state, output = shown(api, "breaks", terminal=True)
    assert state == "failed"
    last = re.sub(r"\x1b\[[?0-9]*[A-Za-z]", "", output).splitlines()[-3:]  # without the movements of the cursor
    assert [line.split()[:2] for line in last] == [["✔", "fine"], ["✘", "bad"], ["✘", "never"]]
    assert failures(api, "breaks", run) == {"bad": "the reason why"}


def test_another_airflow_that_took_the_port_meanwhile_is_not_mistaken_for_ours(server: AirflowServer, tmp_path: Path):
    ours = AirflowServer(
        tmp_path,
        example=EXAMPLE,
        dags=tmp_path,
        plugins=tmp_path,
        projects=[],
        home=tmp_path,
        environment=os.environ,
    )
    (tmp_path / "passwords.json").write_text('{"admin": "ours"}')
    with pytest.raises(Unavailable, match="Another program has taken"):
        ours._make_sure_it_is_ours(server.url)


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
        example=EXAMPLE,
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
