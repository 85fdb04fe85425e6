from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import S3
from tests.image_roots import make_root

from modelyard.monitoring.destination import ACCESS_KEY, SECRET_KEY, Destination
from modelyard.monitoring.segments import Segments
from modelyard.store.artifacts import open_backend

PREFIX = "served/sum/production"


@dataclass
class Server:
    """A server of the summing model with a prediction log, started as its supervisor starts it."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path
    err: Path

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("POST", path, json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def predict(self, number: int, **headers: str) -> None:
        status, _ = self.post("/predict", [{"a": number, "b": 0.5, "word": None}], **headers)
        assert status == 200

    def get(self, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def metrics(self) -> dict[str, float]:
        """Return the metrics of the prediction log."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        start = "modelyard_prediction_log_"
        pairs = (line.removeprefix(start).rsplit(" ", 1) for line in lines if line.startswith(start))
        return {name: float(value) for name, value in pairs}

    def end(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(20)


@dataclass
class Place:
    """Where a prediction log goes, and a look at what came there."""

    destination: Destination
    credential: Path | None

    def segments(self) -> Segments:
        def say(text: str) -> None:
            raise AssertionError(text)

        return Segments(open_backend(self.destination), "sum", "production", say)

    def predictions(self) -> list[int]:
        """Return the input ``a`` of each prediction, in the order of the log."""
        now = datetime.now(UTC)
        found = self.segments().predictions(now - timedelta(hours=1), now + timedelta(hours=1))
        return [prediction.inputs["a"][0] for prediction in found]


Serve = Callable[..., Server]
Ship = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path / "root")


@pytest.fixture
def serve(root: Path, tmp_path: Path) -> Iterator[Serve]:
    """Start a server: ``serve(seconds=…, sample=…, hide=…, most_bytes=…)``."""
    started: list[subprocess.Popen[bytes]] = []

    def serving(log: bool = True, **settings: Any) -> Server:
        folder, err = tmp_path / "log", tmp_path / f"err-{len(started)}"
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        environment = {
            "PATH": os.environ["PATH"],
            "MODELYARD_MODEL_NAME": "sum",
            "MODELYARD_MODEL_VERSION": "3",
            "MODELYARD_LEARNING_SECONDS": "0",
            **({"MODELYARD_PREDICTION_LOG": json.dumps({"folder": str(folder), **settings})} if log else {}),
        }
        command = [sys.executable, "-I", "-m", "modelyard.serving", "--root", str(root), "--port", str(port)]
        with err.open("wb") as stream:
            process = subprocess.Popen(
                [*command, "--host", "127.0.0.1"], env=environment, stdout=subprocess.DEVNULL, stderr=stream
            )
        started.append(process)
        server = Server(process, port, folder, err)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return server
            except OSError:
                assert process.poll() is None, err.read_text()
            finally:
                connection.close()
            time.sleep(0.02)
        pytest.fail(f"the server did not get ready:\n{err.read_text()}")

    yield serving
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def ship(tmp_path: Path) -> Iterator[Ship]:
    """Start the shipper as its command: ``ship(place)``; its words go to ``tmp_path / "shipper"``."""
    started: list[subprocess.Popen[bytes]] = []

    def shipping(place: Place) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "modelyard", "predictions", "ship", str(tmp_path / "log")]
        command += ["--prefix", PREFIX, "--parent", str(os.getpid())]
        command += [] if place.credential is None else ["--credential", str(place.credential)]
        with (tmp_path / "shipper").open("ab") as said:
            process = subprocess.Popen(
                command, env={"PATH": os.environ["PATH"], **place.destination.to_environment()}, stderr=said
            )
        started.append(process)
        return process

    yield shipping
    for process in started:
        process.kill()
        process.wait()


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came so far"
        time.sleep(0.1)


@pytest.fixture
def in_folder(tmp_path: Path) -> Place:
    """A folder of this machine: what needs no credential."""
    return Place(Destination((tmp_path / "objects").as_uri()), None)


@pytest.fixture
def in_s3(s3: S3, tmp_path: Path) -> Place:
    """A bucket, with a credential of the shipper's own beside it."""
    address = s3.address("store")
    credential = tmp_path / "credential"
    credential.mkdir()
    (credential / ACCESS_KEY).write_text(s3.access_key)
    (credential / SECRET_KEY).write_text(f"{s3.secret_key}\n")
    destination = replace(Destination.of(address), s3_access_key=s3.access_key, s3_secret_key=s3.secret_key)
    return Place(destination, credential)
