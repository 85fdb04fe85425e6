"""A model image: environment, server, project and model as layers, on a base image or on none.

A compiled model is run by the server itself: its image has neither environment nor project. The environments exist
already when it is built; project and model are packed here, once for all platforms. The manifest and the config hold
only what the content determines, so the same inputs give the same digest on any machine, any day.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from modelyard.environments import EnvironmentRef, layer_of
from modelyard.images.image import EPOCH, Image, empty
from modelyard.images.index import Index
from modelyard.images.layer import Entry, Kind, Layer, tree
from modelyard.images.paths import ROOT, SHARED
from modelyard.images.store import ImageStore

if TYPE_CHECKING:  # it loads what speaks to registries, which a layout on disk does without
    from modelyard.images.base import Base

USER = "65532:65532"  # "nonroot" in distroless images: owns nothing in the image
PORT = 8080
_CACHES = frozenset({"__pycache__", ".git", ".ipynb_checkpoints"})


@dataclass(frozen=True)
class PlatformParts:
    """What of a model image is a platform's own.

    Attributes:
        environment: of the project; its layer is taken as it is, and not even looked for when the model is compiled.
            A whole image is the base.
        server: the model server's own (``ensure_server``), for the same Python and platform.
        base: what is below; None for an image that a machine's own interpreter runs.
    """

    environment: EnvironmentRef
    server: EnvironmentRef
    base: Base | None = None


def build_model_image(
    parts: Sequence[PlatformParts],
    *,
    images: ImageStore,
    project: Path,
    model: Path,
    commit: str | None,
    log: Callable[[str], None],
    created: datetime | None = None,
    source: str | None = None,
    compiled: bool = False,
) -> Image | Index:
    """Build a model image: an index of one image a platform, where there are several; nothing of it is pushed here.

    Args:
        parts: for each platform.
        images: where environment and server layers are, and the image will be pushed to.
        project: the project's code, without what Git ignores.
        model: the model directory, ``modelyard.json`` in it.
        commit: of the project; None when it has none.
        log: given a line a layer.
        created: the commit's time, None for 1970: never the time of the build.
        source: address of the commit's repository, as it may be shown.
        compiled: the model directory holds the compiled model, and needs nothing of the project.

    Raises:
        EnvironmentBuildError: a base has another Python than the environment.
        ImageError: a layer is not there; Unavailable: the image store cannot be reached.
    """
    shared = [
        *([] if compiled else [images.pack(tree(project, f"{ROOT}/project", _is_cache), "project")]),
        images.pack(tree(model, f"{ROOT}/model"), "model"),
    ]
    moment = EPOCH if created is None else created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    built: list[Image] = []
    for one in parts:
        if len(parts) > 1:
            log(f"Image for {one.environment.platform}:")
        layers = [*_own_layers(one, images, compiled=compiled), *shared]
        for layer in layers:
            log(f"Layer {layer.kind}: {layer.size / 1e6:.1f} MB, {layer.digest[:19]}")
        built.append(_image(one, layers, moment, commit, source))
    return built[0] if len(built) == 1 else Index.of(built)


def _own_layers(parts: PlatformParts, images: ImageStore, *, compiled: bool) -> list[Layer]:
    environment, base = parts.environment, parts.base
    whole = environment.executable is not None
    kinds: tuple[Kind, ...] = ("server",) if compiled or whole else SHARED
    own = [] if base is None or compiled or not whole else [_own_python(base)]
    interpreters = [] if base is None else [*base.entries(environment.python, environment.platform, kinds), *own]
    return [
        *([] if compiled or whole else [layer_of(environment, images)]),
        layer_of(parts.server, images),
        *([] if base is None else [images.pack(interpreters, "interpreter")]),
    ]


def _image(parts: PlatformParts, layers: Sequence[Layer], moment: str, commit: str | None, source: str | None) -> Image:
    environment, base = parts.environment, parts.base
    below = empty(environment.platform.partition("/")[2]) if base is None else base.image
    whole = environment.executable is not None
    annotations = {
        "org.opencontainers.image.created": moment,
        **({} if base is None else {"org.opencontainers.image.base.digest": base.image.digest}),
        "io.modelyard.dockerfile" if whole else "io.modelyard.lock": environment.lock_digest,
        "io.modelyard.model": layers[-1].diff_id,
        **({} if commit is None else {"org.opencontainers.image.revision": commit}),
        **({} if source is None else {"org.opencontainers.image.source": source}),
    }
    return below.append(layers, _run_config(annotations), annotations, moment)


def _own_python(base: Base) -> Entry:
    """Return what has the Python of a project's own image stand where that of a layer would."""
    if base.virtual is not None:
        return Entry(f"{ROOT}/environment", str(base.virtual))
    return Entry(f"{ROOT}/environment/bin/python", str(base.python))


def _run_config(labels: dict[str, str]) -> dict[str, Any]:
    server = f"/{ROOT}/server/bin/python"
    return {
        "User": USER,
        "WorkingDir": f"/{ROOT}",
        "Env": ["PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1"],
        "Entrypoint": [server, "-I", "-m", "modelyard.serving", "--root", f"/{ROOT}"],
        "Cmd": [],
        "ExposedPorts": {f"{PORT}/tcp": {}},
        "StopSignal": "SIGTERM",
        "Labels": labels,
    }


def _is_cache(path: PurePosixPath) -> bool:
    return path.name in _CACHES
