from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.image_roots import OUTPUTS, PREDICTIONS, ROWS, make_root
from tests.load import Load

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


def steady_load(port: int) -> Load:
    """Return clients of a service that knows by its version what it must answer."""
    return Load(port, [{"a": 1, "b": 1.0, "word": None}], lambda version: 2 + 100 * version)


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
