"""A Docker engine of the tests' own, beside any other on this machine: socket, files and bridge are private."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# Another session may run beside this one.
_NUMBER = os.getpid() % 250
_BRIDGE = f"modelyard{_NUMBER}"
_GATEWAY = f"172.31.{_NUMBER}.1"
_NETWORKS = f"172.30.{_NUMBER}.0/24"
_START_SECONDS = 60


@dataclass(frozen=True)
class Engine:
    """A Docker engine, and a registry that it pulls from.

    Attributes:
        url: of its socket, as DOCKER_HOST has it.
        registry: ``host:port`` with plain HTTP, with ``library/python:3.11-slim`` in it.
        host: the address at which containers reach this machine.
    """

    url: str
    registry: str
    host: str

    def client(self) -> Any:
        """Return a client that looks at everything, past Modelyard."""
        import docker

        return docker.APIClient(self.url)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine without any image, for the session; nothing of it stays. Or the one that DOCKER_HOST names."""
    with running_engine(tmp_path_factory.mktemp("docker")) as made:
        yield made


@contextmanager
def running_engine(folder: Path) -> Iterator[Engine]:
    """Run an engine with its files in ``folder``, or yield the one that DOCKER_HOST names."""
    registry = os.environ.get("CLUSTER_REGISTRY")
    if registry is None:
        pytest.skip("CLUSTER_REGISTRY is not set")
    if given := os.environ.get("DOCKER_HOST"):
        import docker

        (network,) = docker.APIClient(given).networks(names=["^bridge$"])
        yield Engine(given, registry, network["IPAM"]["Config"][0]["Gateway"])
        return
    dockerd = shutil.which("dockerd")
    if dockerd is None or os.geteuid() != 0:
        pytest.skip("no Docker engine of the tests' own can be started: it takes root, and apt-get install docker.io")
    socket = folder / "docker.sock"
    _have_bridge()
    command: list[str | Path] = [
        dockerd,
        "--host",
        f"unix://{socket}",
        "--pidfile",
        folder / "pid",
        "--bridge",
        _BRIDGE,
    ]
    command += ["--data-root", folder / "data", "--exec-root", folder / "exec", "--insecure-registry", registry]
    command += ["--registry-mirror", f"http://{registry}", "--config-file", folder / "none.json"]
    command += ["--default-address-pool", f"base={_NETWORKS},size=28", "--log-level", "warn"]
    (folder / "none.json").write_text("{}")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait_for(socket, process, folder / "log")
            made = Engine(f"unix://{socket}", registry, _GATEWAY)
            yield made
            _empty(made.client())
        finally:
            process.terminate()
            process.wait(30)
            subprocess.run(["ip", "link", "delete", _BRIDGE], check=True)
            _forget_rules()
            # Left mounted by an engine whose containers had the machine's own network.
            subprocess.run(["umount", folder / "exec" / "netns" / "default"], check=False, capture_output=True)
            shutil.rmtree(folder / "data")


def _have_bridge() -> None:
    subprocess.run(["ip", "link", "delete", _BRIDGE], check=False, capture_output=True)  # of a killed session
    for command in (
        ["ip", "link", "add", _BRIDGE, "type", "bridge"],
        ["ip", "address", "add", f"{_GATEWAY}/24", "dev", _BRIDGE],
        ["ip", "link", "set", _BRIDGE, "up"],
    ):
        subprocess.run(command, check=True)


def _forget_rules() -> None:
    """Take away what an engine leaves of its bridge in the machine's packet filter."""
    for table in ("filter", "nat"):
        rules = subprocess.run(["iptables", "-t", table, "-S"], check=True, stdout=-1, text=True).stdout
        for rule in rules.splitlines():
            if rule.startswith("-A") and f" {_BRIDGE} " in f"{rule} ":
                subprocess.run(["iptables", "-t", table, "-D", *shlex.split(rule)[1:]], check=True)


def _wait_for(socket: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    import docker

    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            docker.APIClient(f"unix://{socket}").ping()
            return
        except docker.errors.DockerException:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the Docker engine of the tests did not start: {log.read_text()[-2000:]}")
            time.sleep(0.1)


def _empty(client: Any) -> None:
    """End what runs: a container's own processes do not end with the engine."""
    for container in client.containers(all=True):
        client.remove_container(container["Id"], force=True, v=True)
    client.prune_networks()
