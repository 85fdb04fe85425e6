"""A model image: environment, server, project and model as layers, on a base image or on none.

The first two exist already when it is built; project and model are packed here. The manifest and the config hold
only what the content determines, so the same inputs give the same digest on any machine, any day.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from modelyard.environments import EnvironmentRef, ensure_server, layer_of
from modelyard.images.image import Image, empty
from modelyard.images.layer import tree
from modelyard.images.paths import ROOT
from modelyard.images.store import ImageStore

USER = "65532:65532"  # "nonroot" in distroless images: owns nothing in the image
PORT = 8080
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CACHES = frozenset({"__pycache__", ".git", ".ipynb_checkpoints"})


def build_model_image(
    *,
    images: ImageStore,
    home: Path,
    environment: EnvironmentRef,
    project: Path,
    model: Path,
    commit: str | None,
    log: Callable[[str], None],
    created: datetime | None = None,
) -> Image:
    """Build a model image; nothing of it is in a repository before it is pushed.

    Args:
        images: where environment and server layers are, and the image will be pushed to.
        environment: of the project; its layer is taken as it is.
        home: this machine's folder, for building the server's environment when it is not there.
        project: the project's code, without what Git ignores.
        model: the model directory, ``modelyard.json`` in it.
        commit: of the project; None when it has none.
        log: given a line a layer.
        created: the commit's time, None for 1970: never the time of the build.

    Raises:
        ImageError, EnvironmentBuildError, Unavailable: see ``ensure_server``.
    """
    server = ensure_server(images, home, log, python=environment.python)
    layers = [
        layer_of(environment, images),
        layer_of(server, images),
        images.pack(tree(project, f"{ROOT}/project", _is_cache), "project"),
        images.pack(tree(model, f"{ROOT}/model"), "model"),
    ]
    for layer in layers:
        log(f"Layer {layer.kind}: {layer.size / 1e6:.1f} MB, {layer.digest[:19]}")
    base = empty(environment.platform.partition("/")[2], (created or _EPOCH).strftime("%Y-%m-%dT%H:%M:%SZ"))
    annotations = {
        "org.opencontainers.image.created": base.parsed_config["created"],
        "io.modelyard.lock": environment.lock_digest,
        "io.modelyard.model": layers[-1].diff_id,
        **({} if commit is None else {"org.opencontainers.image.revision": commit}),
    }
    return base.append(layers, _run_config(annotations), annotations)


def _run_config(labels: dict[str, str]) -> dict[str, Any]:
    server = f"/{ROOT}/server/bin/python"
    return {
        "User": USER,
        "WorkingDir": f"/{ROOT}/project",
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONUNBUFFERED=1"],
        "Entrypoint": [server, "-I", "-m", "modelyard.serving", "--root", f"/{ROOT}"],
        "Cmd": [],
        "ExposedPorts": {f"{PORT}/tcp": {}},
        "StopSignal": "SIGTERM",
        "Labels": labels,
    }


def _is_cache(path: PurePosixPath) -> bool:
    return path.name in _CACHES
