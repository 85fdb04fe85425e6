"""A project's own image: found by all that it is made of, or built and kept.

A Dockerfile gives other bytes whenever it is built, so an image is built once for a context, a Dockerfile and the
digests of the images it names, and is known by its own digest from then on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from modelyard.dockerfile.builder import Build, Builder
from modelyard.dockerfile.ignored import FILE, ignoring
from modelyard.dockerfile.named_images import named_images
from modelyard.environments import EnvironmentRef
from modelyard.errors import EnvironmentBuildError, ImageError, Unavailable
from modelyard.images import Image, ImageStore
from modelyard.images.base import Base, pull_base, pull_image
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import compress
from modelyard.images.repositories import PROJECT_IMAGE
from modelyard.sources.tree import tree_hash

if TYPE_CHECKING:
    from modelyard.store.address import StoreAddress

_VERSION = "1"  # part of each key: a change of how they are built builds anew


def ensure_project_image(
    project: Path,
    dockerfile: str,
    *,
    builder: Builder,
    images: ImageStore,
    address: StoreAddress,
    home: Path,
    workdir: Path,
    log: Callable[[str], None],
) -> EnvironmentRef:
    """Return the image of a project's Dockerfile as the environment that it is, built first when the store has none.

    Args:
        project: its folder.
        dockerfile: the file's path in it.
        builder: is asked when the store has none.
        images: where the image is kept.
        address: whose account and TLS count for images in the store's own registry.
        home: this machine's folder.
        workdir: for files on the way.
        log: given the build's lines.

    Raises:
        ProjectError: the Dockerfile names an image incompletely.
        EnvironmentBuildError: it cannot be built, or has another Python than Modelyard.
        ImageError, Unavailable: registries or builder refuse, or cannot be reached.
    """
    own = Interpreter.of_this_machine()
    text = (project / dockerfile).read_bytes()
    bases = _pull(named_images(text.decode("utf-8", "replace"), dockerfile), address, home)
    context = workdir / "context"
    _lay_context(project, context)
    made_of = [tree_hash(context), hashlib.sha256(text).hexdigest(), own.platform, _VERSION]
    made_of += [f"{name} {image.digest}" for name, image in sorted(bases.items())]
    key = f"sha256:{hashlib.sha256(json.dumps(made_of).encode()).hexdigest()}"
    tag = key.removeprefix("sha256:")[:40]
    digest = images.resolve(PROJECT_IMAGE, tag)
    if digest is None:
        log(f"Building the image of {dockerfile} ({tag[:12]}) on {', '.join(bases) or 'nothing'}")
        built = builder.build(Build(context, project / dockerfile, bases), log)
        digest = _keep(_layered(built, bases, workdir / "layers", images), tag, images)
        log(f"The project's image is {digest[:19]}")
    else:
        log(f"The project's image is built already ({digest[:19]})")
    base = pull_base(images.reference(PROJECT_IMAGE, digest), images, address, home)
    _check_python(base, own, dockerfile)
    return environment_of(base, digest, key)


def environment_of(base: Base, digest: str, key: str) -> EnvironmentRef:
    """Return a project's own image as the environment that it is: a whole image, and no layer.

    Args:
        base: the image, pulled by its full name in the store.
        digest: its own.
        key: of all that it was made of.
    """
    return EnvironmentRef(
        lock_digest=key,
        python=base.interpreter.python,
        platform=base.interpreter.platform,
        layer_digest="",
        diff_id="",
        repository=PROJECT_IMAGE,
        image_digest=digest,
        reference=base.name,
        executable=str(base.python),
    )


def _pull(names: tuple[str, ...], address: StoreAddress, home: Path) -> dict[str, Image]:
    found = {}
    for name in names:
        try:
            found[name] = pull_image(name, address, home)
        except Unavailable as error:
            raise Unavailable(
                f"The Dockerfile's image {name} is not to be had: {error.message}",
                "try again later, or name one in a registry that can be reached",
            ) from error
    return found


def _lay_context(project: Path, context: Path) -> None:
    """Copy what the build is given: what .dockerignore leaves in."""
    rules = project / FILE
    is_ignored = ignoring(rules.read_text(encoding="utf-8", errors="replace") if rules.is_file() else "")
    context.mkdir()
    for path in sorted(project.rglob("*")):
        name = PurePosixPath(path.relative_to(project))
        if is_ignored(name) or (path.is_dir() and not path.is_symlink()):
            continue
        target = context / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target, follow_symlinks=False)


def _layered(built: Image, bases: Mapping[str, Image], folder: Path, images: ImageStore) -> Image:
    """Return the image with its base's layers as registries have them, and its own ones compressed and verified."""
    known = {layer.diff_id: layer for image in bases.values() for layer in image.layers}
    layers = [known.get(layer.diff_id) or compress(layer, folder, images.compression) for layer in built.layers]
    return Image.of(built.parsed_config, layers, {})


def _keep(image: Image, tag: str, images: ImageStore) -> str:
    try:
        return images.push(PROJECT_IMAGE, image, tag)
    except ImageError:
        digest = images.resolve(PROJECT_IMAGE, tag)
        if digest is None:
            raise
        return digest  # another run was quicker, and the same Dockerfile gave other bytes: its are taken


def _check_python(base: Base, own: Interpreter, dockerfile: str) -> None:
    found = base.interpreter
    if (found.python, found.platform) != (own.python, own.platform):
        raise EnvironmentBuildError(
            f"The image of {dockerfile} has Python {found.python} for {found.platform}, and the model server that is "
            f"laid on it is built for {own.python} on {own.platform}",
            f"begin it with an image with Python {own.python}, or use a runner image with {found.python}",
        )
