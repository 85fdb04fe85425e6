"""What Airflow is set to, asked of a real one in a process of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from modelyard.background import free_port
from modelyard.doctor import airflow
from modelyard.doctor.airflow import Airflow
from modelyard.doctor.airflow_settings import SETTINGS
from modelyard.doctor.finding import Finding
from modelyard.provider_info import connections
from modelyard.store import StoreAddress

REPOSITORY = Path(__file__).parents[3]
SECRET = "marker-that-no-line-may-show"
ADDRESS = StoreAddress(
    f"mongodb://me:{SECRET}@db.example.com:27017/?", "s3://models", "registry.example.com/x", s3_secret_key=SECRET,
    s3_access_key="key",
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An Airflow that is set up as airflow.cfg.example says, but runs nothing."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__CORE__PLUGINS_FOLDER", str(REPOSITORY / "plugins"))
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(REPOSITORY / "dags"))
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", SECRET)
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", Fernet.generate_key().decode())
    (tmp_path / "airflow.cfg").write_text((REPOSITORY / "airflow.cfg.example").read_text())
    return tmp_path


def told() -> Airflow:
    found = airflow.ask()
    assert isinstance(found, Airflow), found
    return found


def settings(found: Airflow) -> dict[str, Finding]:
    version = airflow.is_here({"AIRFLOW_HOME": "/somewhere"})
    assert version is not None
    return {finding.subject: finding for finding in airflow.settings(found, version)}


def test_an_airflow_in_order(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for conn_id, connection in connections(ADDRESS).items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", connection)
    monkeypatch.setenv(
        "AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps({"conn_type": "kubernetes", "extra": {"in_cluster": True}})
    )
    monkeypatch.setenv("AIRFLOW__MODELYARD__EXECUTION", "kubernetes")
    monkeypatch.setenv("AIRFLOW__MODELYARD__RUNNER_IMAGE", "registry.example.com/runner:1")
    found = told()
    assert found.address == ADDRESS
    assert found.cluster == {"in_cluster": True}
    assert found.runs_pods
    assert SECRET not in repr(found)
    seen = settings(found)
    assert [finding.state for finding in seen.values()] == ["ok"]
    assert "LocalExecutor" in seen["Airflow"].found
    assert "execution = kubernetes" in seen["Airflow"].found


def test_an_airflow_as_it_comes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "airflow.cfg").unlink()
    monkeypatch.setenv("AIRFLOW__MODELYARD__EXECUTION", "kubernetes")
    found = told()
    assert found.address is None
    seen = settings(found)
    assert seen["Connection model_store_default"].state == "failed"
    assert "model_store_default" in seen["Connection model_store_default"].found
    assert seen["[modelyard] runner_image"].state == "failed"
    warned = {subject for subject, finding in seen.items() if finding.state == "warning"}
    assert warned == {str(setting) for setting in SETTINGS}


def test_an_airflow_whose_processes_have_no_key_in_common(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__API_AUTH__JWT_SECRET")
    monkeypatch.delenv("AIRFLOW__CORE__FERNET_KEY")
    seen = settings(told())
    assert "Invalid auth token" in seen["[api_auth] jwt_secret"].found
    assert seen["[core] fernet_key"].state == "warning"
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_PRIVATE_KEY_PATH", "/etc/airflow/key.pem")
    assert "[api_auth] jwt_secret" not in settings(told())


def test_another_way_to_run_steps(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MODELYARD__EXECUTION", "cluster")
    assert settings(told())["[modelyard] execution"].state == "failed"


def test_a_models_own_way_to_run_steps(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MODELYARD__EXECUTION_OF", "docker-prices: kubernetes, wine: cluster")
    found = told()
    assert (found.runs_pods, found.runs_containers) == (True, False)
    finding = settings(found)["[modelyard] execution_of"]
    assert (finding.state, finding.found) == ("failed", "'cluster' is no way to run steps")
    monkeypatch.setenv("AIRFLOW__MODELYARD__EXECUTION_OF", "wine")
    finding = settings(told())["[modelyard] execution_of"]
    assert (finding.state, finding.found) == ("failed", "[modelyard] execution_of has 'wine' without a mode")
    assert finding.remedy == "write it as `wine: local, houses: kubernetes`"


def test_a_connection_that_cannot_be_right(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "model_store", "host": "db", "password": SECRET, "extra": {"artifacts": "ftp://x"}}
    monkeypatch.setenv("AIRFLOW_CONN_MODEL_STORE_DEFAULT", json.dumps(connection))
    finding = settings(told())["Connection model_store_default"]
    assert "ftp://x" in finding.found
    assert SECRET not in str(finding)


def test_plugins_that_are_not_there(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__PLUGINS_FOLDER", str(tmp_path))
    finding = airflow.ask()
    assert isinstance(finding, Finding)
    assert finding.state == "failed"
    assert "plugins_folder" in str(finding.remedy)


def test_an_airflow_that_does_not_start_shows_no_secret(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"nosuch://me:{SECRET}@db/airflow")
    finding = airflow.ask()
    assert isinstance(finding, Finding)
    assert finding.state == "failed"
    assert SECRET not in str(finding)


def test_the_example_configuration_is_right() -> None:
    example = ConfigParser(interpolation=None)
    example.read(REPOSITORY / "airflow.cfg.example")
    for setting in SETTINGS:
        section, _, key = setting.name.partition(".")
        assert setting.is_right(example[section][key]), setting


def test_no_airflow_where_none_is_set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert airflow.is_here({}) is None
    assert airflow.is_here({"AIRFLOW_HOME": str(tmp_path)}) is not None
    (tmp_path / "airflow").mkdir()
    (tmp_path / "airflow" / "airflow.cfg").touch()
    assert airflow.is_here({}) is not None


@contextmanager
def answering(status: int, health: object) -> Iterator[str]:
    """An API server that says this of its health: what a real one says of processes that died takes minutes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/deployed/api/v2/monitor/health"
            body = json.dumps(health).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/deployed/execution/"
        server.shutdown()
        thread.join()


def health_at(url: str) -> list[Finding]:
    found = Airflow({"core.execution_api_server_url": url, "api.base_url": None}, ("local",), None, None, None, {})
    return list(airflow.health(found))


HEALTHY = {name: {"status": "healthy"} for name in ("metadatabase", "scheduler", "dag_processor", "triggerer")}


@pytest.mark.parametrize(
    ("changes", "states", "named"),
    [
        ({}, ["ok"], "triggerer live"),
        ({"triggerer": {"status": None}}, ["warning"], "no triggerer lives"),
        ({"scheduler": {"status": "unhealthy"}}, ["failed"], "the scheduler is not alive"),
        ({"dag_processor": None}, ["failed"], "the dag_processor is not alive"),
    ],
)
def test_the_processes(changes: dict[str, object], states: list[str], named: str) -> None:
    with answering(200, HEALTHY | changes) as url:
        found = health_at(url)
    assert [finding.state for finding in found] == states
    assert named in found[0].found


def test_an_api_server_that_is_away_or_another() -> None:
    (finding,) = health_at(f"http://127.0.0.1:{free_port()}/execution/")
    assert finding.state == "failed"
    assert "nobody answers at 127.0.0.1" in finding.found
    with answering(404, {}) as url:
        (finding,) = health_at(url)
    assert "answers 404" in finding.found
