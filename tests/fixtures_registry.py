"""Real registries: Debian's docker-registry, or the one that REGISTRY or CLUSTER_REGISTRY names (plain HTTP)."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.authority import Authority

from modelyard.background import free_port
from modelyard.images.image import empty
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import Entry
from modelyard.images.registry import Registry
from modelyard.images.transport import Transport
from modelyard.store.address import StoreAddress

# What tests search for where it must not be.
_PASSWORD = "not-written-anywhere"
# "name" with this password, as `htpasswd -nbB` writes it
_HTPASSWD = "name:$2b$04$Rk8bYxxBRtXjN3wjCoKgPefuSN8dHq5mhhqE.HhT7vBIdE5lpRzMy\n"


@dataclass(frozen=True)
class RegistryServer:
    """A registry, and a prefix on it that only this test uses.

    Attributes:
        folder: where it keeps its files; None when it was not started here.
        password: of its user ``name``, if it asks for one.
    """

    host: str
    prefix: str
    folder: Path | None = None
    password: str = ""


@contextmanager
def running_registry(
    folder: Path, auth: str = "", tls: str = "", port: int | None = None, deletes: bool = True
) -> Iterator[str]:
    """Run docker-registry with its files in ``folder``; yields host:port.

    Args:
        auth, tls: the insides of these sections of its configuration.
        port: of one that is to come back where it was.
        deletes: whether it lets images be deleted, which none does by default.
    """
    binary = shutil.which("docker-registry") or shutil.which("registry")
    if binary is None:
        pytest.skip("no registry: apt-get install docker-registry, or set REGISTRY=host:port of one with plain HTTP")
    host = f"127.0.0.1:{port or free_port()}"
    configuration = folder / "config.yml"
    configuration.write_text(
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: '{folder / 'files'}'}}, "
        f"delete: {{enabled: {str(deletes).lower()}}}}}\n"
        f"http: {{addr: '{host}', tls: {{{tls}}}}}\n" + (f"auth: {{{auth}}}\n" if auth else "")
    )
    process = subprocess.Popen(
        [binary, "serve", configuration],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"]},
    )
    try:
        name, _, number = host.partition(":")
        deadline = time.monotonic() + 15
        while True:
            try:
                socket.create_connection((name, int(number)), timeout=1).close()
                break
            except ConnectionRefusedError:
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail("the registry of the tests did not start")
                time.sleep(0.05)
        yield host
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def registry_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path | None]]:
    if given := os.environ.get("REGISTRY") or os.environ.get("CLUSTER_REGISTRY"):
        yield given.removeprefix("http://"), None
        return
    folder = tmp_path_factory.mktemp("registry")
    with running_registry(folder) as host:
        yield host, folder / "files"


@pytest.fixture
def registry(registry_server: tuple[str, Path | None]) -> RegistryServer:
    """A registry of plain HTTP without accounts; a prefix of its own for each test."""
    host, folder = registry_server
    return RegistryServer(host, f"test-{uuid.uuid4().hex[:12]}", folder)


def push_base(address: StoreAddress, home: Path, version: str) -> str:
    """Push a base image with a file for a Python, outside of the address's own prefix; return its name.

    Enough for whoever unpacks what lies above it and runs it by this machine's interpreter.
    """
    host, _, prefix = address.registry.partition("/")
    transport = Transport(
        host, username=address.registry_username, password=address.registry_password, insecure=address.registry_insecure
    )
    images = Registry(transport, "", home / "packed", "gzip")
    layers = [
        images.pack([Entry("usr/bin/python3.9", b"an old one", executable=True), Entry("bin", "usr/bin")]),
        images.pack([Entry(f"usr/local/bin/python{version}", b"interpreter", executable=True)]),
    ]
    config = {
        "Env": ["PATH=/usr/local/bin:/usr/bin", f"PYTHON_VERSION={version}.99"],
        "Cmd": ["python3"],
        "User": "root",
    }
    architecture = Interpreter.of_this_machine().platform.partition("/")[2]
    images.push(f"{prefix}-bases/python", empty(architecture).append(layers, config, {}), "slim")
    return f"{host}/{prefix}-bases/python:slim"


@pytest.fixture(scope="session")
def guarded_registry_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("guarded-registry")
    htpasswd = folder / "htpasswd"
    htpasswd.write_text(_HTPASSWD)
    with running_registry(folder, auth=f"htpasswd: {{realm: Tests, path: '{htpasswd}'}}") as host:
        yield host


@pytest.fixture
def guarded_registry(guarded_registry_server: str) -> RegistryServer:
    """A registry that asks for an account: user ``name``, password ``.password``."""
    return RegistryServer(guarded_registry_server, f"test-{uuid.uuid4().hex[:12]}", password=_PASSWORD)
