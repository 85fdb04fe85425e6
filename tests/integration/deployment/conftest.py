from __future__ import annotations

import hashlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest
from tests.image_roots import OUTPUTS, PREDICTIONS, ROWS, make_root

from modelyard.deployment import ServiceSpec
from modelyard.deployment.local import LocalTarget, stop_all


class Images:
    """Unpacked images of the summing model, one a version: version ``v`` adds 100 × v to every prediction."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._roots: dict[str, Path] = {}

    def spec(self, version: int, *, generation: int | None = None, timeout: float = 20, **behavior: Any) -> ServiceSpec:
        """Make an image and its spec; the golden answers are those of a model that is as it should be."""
        digest = "sha256:" + hashlib.sha256(f"{version} {behavior}".encode()).hexdigest()
        if digest not in self._roots:
            root = self._folder / digest.removeprefix("sha256:")
            self._roots[digest] = make_root(root, **{"off": 100 * version, **behavior})
        outputs = {**OUTPUTS, "prediction": [value + 100 * version for value in PREDICTIONS]}
        return ServiceSpec(
            model="sum",
            environment="production",
            version=version,
            run_id=version + 1000,
            image_digest=digest,
            generation=version if generation is None else generation,
            smoke={"inputs": ROWS, "outputs": outputs},
            ready_timeout=timeout,
        )

    def unpack(self, _model: str, digest: str) -> Path:
        return self._roots[digest]


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(tmp_path / "images")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home deeper than a Unix socket's path may be; whatever runs in it ends with the test."""
    home = tmp_path / ("deep" * 25)
    yield home
    stop_all(home)


@pytest.fixture
def target(home: Path, images: Images) -> LocalTarget:
    return LocalTarget(home, images.unpack)


@dataclass
class Load:
    """Clients that ask without a pause and without a second try, half of them on one connection as long as it lasts."""

    port: int
    answers: list[tuple[float, int]] = field(default_factory=list)  # when asked, version that answered
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        for number in range(16):
            thread = threading.Thread(target=self._ask, args=(number % 2 == 0,), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def wait_for(self, more: int) -> None:
        """Wait until that many more requests were answered."""
        goal, deadline = len(self.answers) + more, time.monotonic() + 60
        while len(self.answers) < goal and not self.failures:
            assert time.monotonic() < deadline, "the load does not get on"
            time.sleep(0.01)

    def _ask(self, keep: bool) -> None:
        body = json.dumps([{"a": 1, "b": 1.0, "word": None}])
        connection = None
        while not self._stop.is_set():
            asked = time.monotonic()
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                connection.request("POST", "/predict", body, {} if keep else {"connection": "close"})
                response = connection.getresponse()
                answer = json.loads(response.read())
                version = int(response.headers["modelyard-model-version"])
                assert response.status == 200, answer
                assert answer["predictions"][0]["prediction"] == 2 + 100 * version, (answer, version)
                self.answers.append((asked, version))
            except Exception as error:  # noqa: BLE001 - every kind of failure counts
                self.failures.append(f"{'kept' if keep else 'new'} connection: {type(error).__name__}: {error}")
                connection = None
            if not keep and connection:
                connection.close()
                connection = None
        if connection:
            connection.close()


Deploy = Callable[..., int]


@pytest.fixture
def deploy(target: LocalTarget) -> Deploy:
    """Deploy a spec; returns the port."""

    def deploying(spec: ServiceSpec) -> int:
        return int(target.deploy(spec, print).rpartition(":")[2])

    return deploying


def ask(port: int) -> int:
    """Return the version that answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/predict", json.dumps([{"a": 1, "b": 1.0, "word": None}]))
        response = connection.getresponse()
        response.read()
        assert response.status == 200
        return int(response.headers["modelyard-model-version"])
    finally:
        connection.close()
