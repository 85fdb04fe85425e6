"""The environment image: a project's environment on the runner image, where steps that run the project's code run.

What pulls it (a node of a cluster) keeps it, so its thousands of files are fetched and unpacked once a node, and not
by every step.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from modelyard.environments import EnvironmentRef, layer_of
from modelyard.errors import EnvironmentBuildError
from modelyard.images.image import Image
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import Entry
from modelyard.images.paths import ENVIRONMENT_NAME, ROOT
from modelyard.images.repositories import ENVIRONMENT_IMAGE
from modelyard.images.store import ImageStore

if TYPE_CHECKING:
    from pathlib import Path

    from modelyard.store.address import StoreAddress

_VERSION = "1"  # part of each tag: a change of how they are made makes new ones


def ensure_environment_image(
    runner: str,
    environment: EnvironmentRef,
    *,
    images: ImageStore,
    address: StoreAddress,
    home: Path,
    log: Callable[[str], None],
) -> str:
    """Return the full name, by digest, of the image with ``environment`` in it, made first when the store has none.

    To be called in the runner image: its Python is the one that runs here.

    Args:
        runner: name of the runner image.
        environment: built for this machine's Python.
        images: where the environment is, and the image is kept.
        address: whose account and TLS count for a runner image in the store's own registry.
        home: this machine's folder.
        log: given a line.

    Raises:
        EnvironmentBuildError: the runner image is for another platform than this machine.
        ImageError: there is no such runner image; Unavailable: a registry cannot be reached.
    """
    from modelyard.images.base import pull_image

    below, interpreter = pull_image(runner, address, home), Interpreter.of_this_machine()
    if below.platform != interpreter.platform:
        raise EnvironmentBuildError(
            f"The runner image {runner} is for {below.platform}, and this step runs on {interpreter.platform}",
            "push one for this platform",
        )
    tag = _tag(environment, below, interpreter)
    digest = images.resolve(ENVIRONMENT_IMAGE, tag)
    if digest is None:
        built = _build(environment, below, interpreter, images)
        digest = images.push(ENVIRONMENT_IMAGE, built, tag)
        log(f"Environment image {digest[:19]}: the environment on {runner}")
    else:
        log(f"The environment image is built already ({digest[:19]})")
    return images.reference(ENVIRONMENT_IMAGE, digest)


def _tag(environment: EnvironmentRef, runner: Image, interpreter: Interpreter) -> str:
    """Name all that it is made of; the interpreter too: a runner's tag may have moved since this process began."""
    parts = [environment.image_digest, runner.digest, str(interpreter.executable), interpreter.version]
    return f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]}-{_VERSION}"


def _build(environment: EnvironmentRef, runner: Image, interpreter: Interpreter, images: ImageStore) -> Image:
    entries = [
        *interpreter.entries(f"{ROOT}/environment"),
        Entry(ENVIRONMENT_NAME, f"{environment.diff_id}\n".encode()),
    ]
    layers = [layer_of(environment, images), images.pack(entries, "interpreter")]
    facts = {
        "org.opencontainers.image.title": "modelyard-environment",
        "org.opencontainers.image.base.digest": runner.digest,
        "io.modelyard.lock": environment.lock_digest,
    }
    return runner.append(layers, {"Labels": facts}, facts)
