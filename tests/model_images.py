"""Images of one model that multiplies by a factor, and some that cannot, for tests of what serves them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.triple import write_project

from modelyard.deployment import ServiceSpec
from modelyard.environments import ensure, ensure_server, read_lock
from modelyard.images import ImageStore, open_images
from modelyard.images.base import pull_base
from modelyard.images.model_image import PlatformParts, build_model_image
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


def model_images_in(registry: str, base: str, folder: Path, layer_compression: str | None = None) -> ModelImages:
    """Return what builds images on a base image and pushes them, each once.

    Args:
        registry: with plain HTTP, and a prefix that nobody else uses.
        base: name of the base image.
        folder: an empty one.
        layer_compression: of new layers.
    """
    home = folder / "home"
    address = StoreAddress(
        mongo_uri="mongodb://unused",
        artifacts=(folder / "artifacts").as_uri(),
        registry=registry,
        registry_insecure=True,
        layer_compression=layer_compression,
    )
    images = open_images(address, home)
    below = pull_base(base, images, address, home)
    digests: dict[tuple[int, str], str] = {}

    def build(factor: int, as_it_loads: str) -> str:
        if (factor, as_it_loads) not in digests:
            project, model = write_model(folder / str(len(digests)), factor, as_it_loads)
            environment = ensure(read_lock(project / "requirements.txt"), images, home, print)
            image = build_model_image(
                [PlatformParts(environment, ensure_server(images, home, print, environment.python), below)],
                images=images,
                project=project,
                model=model,
                commit=None,
                log=print,
            )
            digests[factor, as_it_loads] = images.push(MODEL, image)
        return digests[factor, as_it_loads]

    return ModelImages(images, build)


def write_model(folder: Path, factor: int, as_it_loads: str) -> tuple[Path, Path]:
    """Write the project and the model directory of a model that multiplies by a factor, and return both."""
    return write_project(folder, factor, _PREDICT.format(as_it_loads=as_it_loads))
