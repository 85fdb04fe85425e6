"""A project with one small package in its lock, its trained model, and the image of both: a model that multiplies."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelyard.environments import EnvironmentRef, ensure, ensure_server, read_lock
from modelyard.images import Image, ImageStore, Index
from modelyard.images.base import pull_base
from modelyard.images.model_image import PlatformParts, build_model_image
from modelyard.store import StoreAddress

PREDICT = """
import json, six

def load(folder):
    return json.loads((folder / "factor.json").read_text())

def predict(model, rows):
    return {"prediction": [model * row["x"] for row in rows]}
"""
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_project(folder: Path, factor: int = 3, code: str = PREDICT) -> tuple[Path, Path]:
    """A project and its model directory: a model that multiplies by a factor, by this ``predict.py``."""
    project, model = folder / "project", folder / "model"
    (project / "__pycache__").mkdir(parents=True)
    (project / "__pycache__" / "predict.cpython-311.pyc").write_bytes(os.urandom(20))
    (project / "predict.py").write_text(code)
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


def build_for(images: ImageStore, folder: Path, *platforms: str) -> Index:
    """The image for several platforms, whose project has a compiled package too. Nothing of it serves it."""

    def parts(environment: EnvironmentRef) -> PlatformParts:
        return PlatformParts(environment, environment)

    return _build_index(images, folder, platforms, parts)


def build_on(
    images: ImageStore, base: str, address: StoreAddress, folder: Path, *platforms: str, code: str = PREDICT
) -> Index:
    """The image for several platforms on a base that is for them too, with what serves it."""
    home = folder / "home"

    def parts(environment: EnvironmentRef) -> PlatformParts:
        server = ensure_server(images, home, print, environment.python, environment.platform)
        return PlatformParts(environment, server, pull_base(base, images, address, home, environment.platform))

    return _build_index(images, folder, platforms, parts, code)


def _build_index(
    images: ImageStore,
    folder: Path,
    platforms: Sequence[str],
    parts: Callable[[EnvironmentRef], PlatformParts],
    code: str = PREDICT,
) -> Index:
    project, model = write_project(folder, code=code)
    (project / "requirements.txt").write_text("markupsafe==3.0.2\nsix==1.17.0\n")
    lock = read_lock(project / "requirements.txt")
    built = [parts(ensure(lock, images, folder / "home", print, platform)) for platform in platforms]
    image = build_model_image(built, images=images, project=project, model=model, commit=COMMIT, log=print)
    assert isinstance(image, Index)
    return image


def build(images: ImageStore, folder: Path, **changes: Any) -> tuple[Image, EnvironmentRef]:
    project, model = write_project(folder, changes.pop("factor", 3))
    home = folder / "home"
    environment = changes.pop("environment", None)
    if environment is None:
        environment = ensure(read_lock(project / "requirements.txt"), images, home, lambda _: None)
    server = ensure_server(images, home, lambda _: None, environment.python)
    image = build_model_image(
        [PlatformParts(environment, server, changes.pop("base", None))],
        images=images,
        project=project,
        model=model,
        log=lambda _: None,
        **{"commit": COMMIT, "created": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), **changes},
    )
    assert isinstance(image, Image)
    return image, environment
