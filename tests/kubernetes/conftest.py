"""Model images in the cluster's registry: a model that multiplies by a factor, and some that cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.fixtures_cluster import TestCluster

from modelyard.deployment import ServiceSpec
from modelyard.environments import ensure, read_lock
from modelyard.images import ImageStore, open_images
from modelyard.images.base import pull_base
from modelyard.images.model_image import build_model_image
from modelyard.store import StoreAddress

MODEL = "times"
_PREDICT = """
import json, sys, time

def load(folder):
    {as_it_loads}
    return json.loads((folder / "factor.json").read_text())

def predict(model, rows):
    return [model * row["x"] for row in rows]
"""


@dataclass(frozen=True)
class ModelImages:
    """Images of one model, by factor and by what their code does when it is loaded."""

    images: ImageStore
    build: Callable[[int, str], str]

    def spec(self, environment: str, version: int, *, as_it_loads: str = "pass", **changes: object) -> ServiceSpec:
        """Build version N, which multiplies by N, and return what it takes to deploy it."""
        return ServiceSpec(
            **{
                "model": MODEL,
                "environment": environment,
                "version": version,
                "run_id": 100 + version,
                "image_digest": self.build(version, as_it_loads),
                "generation": version,
                "smoke": {"inputs": [{"x": 2}], "outputs": {"prediction": [2 * version]}},
                "ready_timeout": 30.0,
            }
            | changes  # type: ignore[arg-type]
        )


@pytest.fixture(scope="session")
def model_images(cluster: TestCluster, tmp_path_factory: pytest.TempPathFactory) -> ModelImages:
    """Builds images on a base image and pushes them, each once."""
    folder = tmp_path_factory.mktemp("models")
    home = folder / "home"
    address = StoreAddress(
        mongo_uri="mongodb://unused",
        artifacts=(folder / "artifacts").as_uri(),
        registry=f"{cluster.registry}/test-{uuid.uuid4().hex[:12]}",
        registry_insecure=True,
    )
    images = open_images(address, home)
    base = pull_base(f"{cluster.registry}/library/python:3.11-slim", address, home)
    digests: dict[tuple[int, str], str] = {}

    def build(factor: int, as_it_loads: str) -> str:
        if (factor, as_it_loads) not in digests:
            project, model = _write(folder / str(len(digests)), factor, as_it_loads)
            image = build_model_image(
                images=images,
                home=home,
                environment=ensure(read_lock(project / "requirements.txt"), images, home, print),
                project=project,
                model=model,
                commit=None,
                log=print,
                base=base,
            )
            digests[factor, as_it_loads] = images.push(MODEL, image)
        return digests[factor, as_it_loads]

    return ModelImages(images, build)


def _write(folder: Path, factor: int, as_it_loads: str) -> tuple[Path, Path]:
    project, model = folder / "project", folder / "model"
    project.mkdir(parents=True)
    (project / "predict.py").write_text(_PREDICT.format(as_it_loads=as_it_loads))
    (project / "requirements.txt").write_text("six==1.17.0\n")
    (model / "files").mkdir(parents=True)
    (model / "files" / "factor.json").write_text(str(factor))
    description = {
        "format": 1,
        "flavor": "python",
        "files": {"model": "files"},
        "task": None,
        "classes": None,
        "python": "3.11.7",
        "packages": {"six": "1.17.0"},
        "signature": {
            "kind": "columns",
            "container": "rows",
            "inputs": [{"name": "x", "datatype": "INT64", "shape": [-1], "nullable": False}],
            "outputs": [{"name": "prediction", "datatype": "INT64", "shape": [-1]}],
        },
        "golden": {"inputs": [{"x": 1}], "outputs": {"prediction": [factor]}},
    }
    (model / "modelyard.json").write_text(json.dumps(description))
    return project, model


@pytest.fixture(scope="session")
def runner_image(cluster: TestCluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """This very Modelyard as an image."""
    home = tmp_path_factory.mktemp("runner")
    reference = f"{cluster.registry}/test-{uuid.uuid4().hex[:12]}/runner:1"
    command = [str(Path(sys.executable).parent / "modelyard"), "image", "runner", "--push", reference]
    command += ["--base", f"{cluster.registry}/library/python:3.11-slim"]
    environment = os.environ | {"MODELYARD_HOME": str(home), "MODELYARD_REGISTRY_INSECURE": "true"}
    return subprocess.run(command, env=environment, check=True, stdout=-1, text=True).stdout.strip()
