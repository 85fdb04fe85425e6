"""What the tests on a Docker engine share: the runner image, model images, and servers that containers reach."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fixtures_docker import Engine
from tests.model_images import MODEL, ModelImages, model_images_in

from modelyard.deployment.docker import DockerTarget
from modelyard.docker_engine import connect

# Airflow reads its configuration, and writes one, when it is imported.
_airflow_home = tempfile.TemporaryDirectory(prefix="airflow-")  # gone with this process
os.environ["AIRFLOW_HOME"] = _airflow_home.name


@pytest.fixture(scope="session")
def model_images(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> ModelImages:
    """Builds images on a base image and pushes them, each once; of gzip, as engines of every age read it."""
    registry = f"{engine.registry}/test-{uuid.uuid4().hex[:12]}"
    base = f"{engine.registry}/library/python:3.11-slim"
    return model_images_in(registry, base, tmp_path_factory.mktemp("models"), "gzip")


@pytest.fixture(scope="session")
def runner_image(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """This very Modelyard as an image."""
    command = [str(Path(sys.executable).parent / "modelyard"), "image", "runner"]
    command += ["--push", f"{engine.registry}/test-{uuid.uuid4().hex[:12]}/runner:1"]
    command += ["--base", f"{engine.registry}/library/python:3.11-slim"]
    environment = os.environ | {"MODELYARD_HOME": str(tmp_path_factory.mktemp("runner"))}
    environment |= {"MODELYARD_REGISTRY_INSECURE": "true", "MODELYARD_LAYER_COMPRESSION": "gzip"}
    return subprocess.run(command, env=environment, check=True, stdout=-1, text=True).stdout.strip()


@pytest.fixture
def target(engine: Engine, model_images: ModelImages, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerTarget]:
    """The target on the engine that DOCKER_HOST names; the services in its environments are removed in the end."""
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    target = DockerTarget(connect(), model_images.images.reference, None)
    yield target
    for environment in ("production", "staging"):
        target.remove(MODEL, environment)
