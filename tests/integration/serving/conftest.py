from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures_compilation import Workshop
from tests.image_roots import make_root

FACTS = {
    "MODELYARD_MODEL_NAME": "sum",
    "MODELYARD_MODEL_VERSION": "3",
    "MODELYARD_RUN_ID": "17",
    "MODELYARD_IMAGE_DIGEST": "sha256:" + "a" * 64,
}
BODY = json.dumps([{"a": 1, "b": 2.0, "word": "x"}]).encode()


_COMPILED = """
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
table = pd.read_csv(HOUSES / "houses.csv")
X, y = table.drop(columns="price"), table.price.map(lambda price: "dear" if price > 300000 else "cheap")
encoder, years = OneHotEncoder(handle_unknown="ignore"), SimpleImputer(strategy="median")
prepared = make_column_transformer((encoder, ["district", "garden"]), (years, ["year"]), remainder="passthrough")
model = make_pipeline(prepared, LogisticRegression(max_iter=5000)).fit(X, y)
example = X[:5]
"""


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Running:
    """A server process that answers on ``port``."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    access_log: Path

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method, path, data, headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        return self.request("POST", path, body, headers)

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def wait_ready(self) -> None:
        deadline = time.monotonic() + 60  # of a large library, on a busy machine
        while time.monotonic() < deadline:
            try:
                if self.get("/readyz").status == 200:
                    return
            except ConnectionRefusedError:
                if self.process.poll() is not None:
                    break
            time.sleep(0.02)
        pytest.fail(f"the server did not get ready:\n{self.log.read_text()}")


def post(*headers: str, body: bytes = BODY, path: str = "/predict") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: x", *headers]
    if not any(header.lower().startswith("transfer-encoding") for header in headers):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def read_all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def exchange(server: Running, data: bytes) -> bytes:
    """Send bytes, end our side, return all that comes back."""
    with server.connect() as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


def resident(running: Running) -> float:
    """Return the MiB that the server has in memory."""
    rollup = Path(f"/proc/{running.process.pid}/smaps_rollup").read_text()
    return int(next(line.split()[1] for line in rollup.splitlines() if line.startswith("Rss:"))) / 1024


Start = Callable[..., Running]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start servers: ``start(root, *arguments, ready=True, environment=FACTS)``; all are gone afterwards.

    ``hand_on`` is a listening socket that ``--fd`` in ``arguments`` names; ``output`` a descriptor for standard output.
    """
    processes = []

    def starter(
        root: Path,
        *arguments: str,
        ready: bool = True,
        environment: dict[str, str] = FACTS,
        hand_on: socket.socket | None = None,
        output: int | None = None,
    ) -> Running:
        folder = tmp_path_factory.mktemp("server")
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            if not arguments:
                arguments = ("--fd", str(listening.fileno()))
            elif hand_on is None:
                port = int(arguments[-1])
            command = [sys.executable, "-I", "-m", "modelyard.serving", "--root", str(root), *arguments]
            with (folder / "err").open("wb") as err, (folder / "out").open("wb") as out:
                process = subprocess.Popen(
                    command,
                    stdout=out if output is None else output,
                    stderr=err,
                    pass_fds=[(hand_on or listening).fileno()],
                    env={"PATH": os.environ["PATH"], **environment},
                )
        processes.append(process)
        running = Running(process, port, folder / "err", folder / "out")
        if ready:
            running.wait_ready()
        return running

    yield starter
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def server(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Running:
    """One server of the summing model for the tests that leave it as it is."""
    return start(make_root(tmp_path_factory.mktemp("image") / "root"))


@pytest.fixture(scope="session")
def compiled_root(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image's folder with a compiled model of text, whole numbers and missing ones; no environment, no project."""
    folder = tmp_path_factory.mktemp("compiled")
    workshop.write(folder, _COMPILED)
    workshop.compile(folder, "float32")
    (folder / "model" / "model.joblib").unlink()
    return folder


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port
