"""compose.yaml as Docker Compose itself reads it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

COMPOSE = Path(__file__).parents[3] / "docker" / "compose.yaml"
REQUIRED = sorted(set(re.findall(r"\$\{(\w+):\?", COMPOSE.read_text())))
GIVEN = {name: f"marker-{name.lower()}" for name in REQUIRED} | {"PROJECTS": "/srv/models"}


def _command() -> list[str]:
    if shutil.which("docker") and not subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    pytest.skip("there is no docker compose and no docker-compose")


def config(environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``config``, which reads the whole file and starts nothing, where no .env of this machine is read."""
    shutil.copy(COMPOSE, folder)
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
    command = [*_command(), "--file", str(folder / COMPOSE.name), "config"]
    return subprocess.run(command, env={"PATH": "/usr/local/bin:/usr/bin:/bin"}, capture_output=True, text=True)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    read = config(GIVEN, tmp_path_factory.mktemp("compose"))
    assert read.returncode == 0, read.stderr
    found: dict[str, Any] = yaml.safe_load(read.stdout)["services"]
    return found


def test_the_file_holds_the_servers_and_all_of_airflow(services: dict[str, Any]):
    servers = {"postgres", "mongo", "s3", "registry"}
    assert set(services) == servers | {"prepare", "api-server", "scheduler", "dag-processor", "triggerer"}
    for name, service in services.items():
        assert ":" in service["image"], name
        assert "healthcheck" in service or name == "prepare", name


def test_nothing_listens_where_others_than_this_host_reach_it(services: dict[str, Any]):
    for name, service in services.items():
        for port in service.get("ports", []):
            address = port["host_ip"] if isinstance(port, dict) else port
            assert address.startswith("127.0.0.1"), name
        if service.get("network_mode") == "host":
            assert service["environment"]["AIRFLOW__API__HOST"] == "127.0.0.1"
            assert service["environment"]["AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST"] == "127.0.0.1"
    for name in ("scheduler", "triggerer"):
        assert "--skip-serve-logs" in str(services[name]["command"]), name


def test_each_secret_reaches_just_the_servers_that_need_it(services: dict[str, Any]):
    for name, servers in {
        "POSTGRES_PASSWORD": {"postgres"},
        "MONGO_PASSWORD": {"mongo"},
        "S3_SECRET_KEY": {"s3"},
    }.items():
        holders = {service for service, written in services.items() if GIVEN[name] in str(written)}
        assert holders == servers | {"prepare", "api-server", "scheduler", "dag-processor", "triggerer"}, name
    assert {one for one, written in services.items() if GIVEN["ADMIN_PASSWORD"] in str(written)} == {"prepare"}
    for name, service in services.items():
        assert not [marker for marker in GIVEN.values() if marker in str(service.get("command"))], name


@pytest.mark.parametrize("name", REQUIRED)
def test_what_is_not_given_is_asked_for(name: str, tmp_path: Path):
    read = config({key: value for key, value in GIVEN.items() if key != name}, tmp_path)
    assert read.returncode != 0
    assert name in read.stderr
    assert "see docker/README.md" in read.stderr
