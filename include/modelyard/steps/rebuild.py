"""A released version's image, made once more from what the store knows, and compared with the one that was released.

Nothing is taken from the image store but the base image: environment and server are installed anew, into a folder and
from a cache that are empty before and gone afterwards. The image of a project's own Dockerfile is such a base: it would
be another one whenever it is built, so it is the one that the version was trained in, by its digest.

An image depends on who built it, too: the server is Modelyard's own, and byte code may differ between patch releases of
Python. Where this Modelyard or this Python is another one, what they determine can't be the same, and is not compared:
that is never the same as "reproduced", as who built an image is known from the store's record alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import modelyard
from modelyard.environments import EnvironmentRef, Lock, ensure, ensure_server
from modelyard.environments.workspace import workspace
from modelyard.errors import EnvironmentBuildError, NotFound
from modelyard.images import Image, ImageStore, Index
from modelyard.images.difference import DIFFERS, LayerDifference, layer_differences, settings_differences
from modelyard.images.interpreter import Interpreter
from modelyard.images.layout import Layout
from modelyard.images.model_image import PlatformParts, build_model_image
from modelyard.images.recipe import ImageRecipe
from modelyard.steps.containerise import lay_model
from modelyard.steps.context import unpack_project
from modelyard.store import ModelVersion, StoreAddress

if TYPE_CHECKING:
    from modelyard.images.base import Base
    from modelyard.store.artifacts import Artifacts

JSON = dict[str, Any]

_BYTE_CODE = ".pyc"


@dataclass(frozen=True)
class Rebuilt:
    """An image that was made again; its layers can be read while :func:`rebuilt` lasts.

    Attributes:
        other_builder: why a layer can't be the same as in the released image, by the layer's name.
        other_python: why byte code can't, by the layer's name.
    """

    image: Image | Index
    other_builder: dict[str, str]
    other_python: dict[str, str]


@dataclass(frozen=True)
class Verdict:
    """How a released image and the one that was made again compare.

    Attributes:
        layers: those that differ though they should not.
        settings: what else the images say, and should not say differently: a line each.
        not_compared: what could not be compared, and why: a line each.
    """

    layers: tuple[LayerDifference, ...]
    settings: tuple[str, ...]
    not_compared: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether nothing was found that differs, in what could be compared."""
        return not self.layers and not self.settings


@contextmanager
def rebuilt(
    version: ModelVersion,
    *,
    artifacts: Artifacts,
    images: ImageStore,
    address: StoreAddress,
    home: Path,
    log: Callable[[str], None],
) -> Iterator[Rebuilt]:
    """Make the image of a released version again; nothing of it gets into ``images``.

    Args:
        version: with an image.
        artifacts: the store's: project and model.
        images: asked for the base image alone.
        address: its registry's account counts for a base image that is to be fetched again.
        home: this machine's folder; one in its cache is used meanwhile.
        log: given a line now and then.

    Raises:
        NotFound: the store does not have what the image was made of; CorruptArtifact: it has other bytes.
        EnvironmentBuildError: this machine has another Python, or a locked package is not to be had any more.
        ImageError: the base image is lost; Unavailable: a registry or a package index cannot be reached.
    """
    if version.image_recipe is None:
        raise NotFound(
            f"What the image of {version.name}:{version.version} was made of is not known",
            "it was released by a Modelyard that did not keep it: train and release a new version",
        )
    recipe = ImageRecipe(**version.image_recipe)
    own = {"environment": recipe.environment, "server": recipe.server, "base": recipe.base}
    released = [
        _Released(EnvironmentRef(**one["environment"]), EnvironmentRef(**one["server"]), one["base"])
        for one in (own, *recipe.elsewhere)
    ]
    _check_machine(version, released[0].environment)
    with workspace(home, f"rebuild-{version.name}-{version.version}") as folder:
        folder.mkdir()
        scratch, project, model = Layout(folder / "images", recipe.compression), folder / "project", folder / "model"
        unpack_project(artifacts, version.project_digest, project)
        lay_model(artifacts, version, recipe.compiled, model)
        parts = [
            PlatformParts(
                _environment(one.environment, project, scratch, folder / "home", log, recipe),
                ensure_server(scratch, folder / "home", log, one.environment.python, one.environment.platform),
                _base(one.base, images, address, home),
            )
            for one in released
        ]
        image = build_model_image(
            parts,
            images=scratch,
            project=project,
            model=model,
            commit=version.commit,
            created=version.committed_at,
            source=recipe.source,
            log=log,
            compiled=recipe.compiled is not None,
        )
        pairs = {
            f"{kind}{_of(now.platform, image)}": (then, now)
            for one, ours in zip(released, parts, strict=True)
            for kind, then, now in (
                ("environment", one.environment, ours.environment),
                ("server", one.server, ours.server),
            )
        }
        yield Rebuilt(
            image,
            other_builder={
                name: f"Modelyard {recipe.modelyard} built it, and this is another one ({modelyard.__version__})"
                for name, (then, now) in pairs.items()
                if then.tag != now.tag and recipe.modelyard != modelyard.__version__
            },
            other_python={
                name: f"Python {then.interpreter} compiled it, and this is {now.interpreter}"
                for name, (then, now) in pairs.items()
                if then.interpreter != now.interpreter
            },
        )


def compare(released: Image | Index, again: Rebuilt) -> Verdict:
    """Compare a released image with the one that was made again, platform by platform.

    Raises:
        ImageError: a released layer has other bytes than its digest says; Unavailable: the registry cannot be reached.
    """
    theirs, ours = ({image.platform: image for image in whole.images} for whole in (released, again.image))
    layers: list[LayerDifference] = []
    settings, not_compared = [], []
    listed, made = ([image.platform for image in whole.images] for whole in (released, again.image))
    if listed != made:
        settings.append(f"platforms: {', '.join(made)} instead of {', '.join(listed)}")
    elif _listing(released) != _listing(again.image):
        settings.append("index: it lists the same images in another way")
    for platform in [one for one in theirs if one in ours]:
        of = _of(platform, again.image)
        settings += [f"{line}{of}" for line in settings_differences(theirs[platform], ours[platform])]
        for found in layer_differences(theirs[platform], ours[platform]):
            name = f"{found.layer}{of}"
            if found.what != DIFFERS:
                layers.append(replace(found, layer=name))
                continue
            if name in again.other_builder:
                not_compared.append(f"layer {name}: {again.other_builder[name]}")
                continue
            files = found.files
            if name in again.other_python and files:
                files = tuple(file for file in files if not file.path.endswith(_BYTE_CODE))
                not_compared.append(f"byte code in layer {name}: {again.other_python[name]}")
                if not files:
                    continue
            layers.append(LayerDifference(name, files))
    return Verdict(tuple(layers), tuple(settings), tuple(not_compared))


def _listing(whole: Image | Index) -> JSON | None:
    """Return what an index says beside which images it lists; None of an image that is in none."""
    if isinstance(whole, Image):
        return None
    parsed: JSON = json.loads(whole.manifest)
    parsed["manifests"] = [{**one, "digest": None, "size": None} for one in parsed["manifests"]]
    return parsed


def _of(platform: str, image: Image | Index) -> str:
    """What follows a layer's kind in its name, where there is one for each of several platforms."""
    return f" for {platform}" if len(image.images) > 1 else ""


@dataclass(frozen=True)
class _Released:
    """What an image was made of, of one platform."""

    environment: EnvironmentRef
    server: EnvironmentRef
    base: str | None


def _environment(
    released: EnvironmentRef,
    project: Path,
    images: ImageStore,
    home: Path,
    log: Callable[[str], None],
    recipe: ImageRecipe,
) -> EnvironmentRef:
    if released.executable is not None:
        log(f"The image of the project's Dockerfile is not built again, but taken by its digest: {recipe.base}")
        return released
    lock = _lock(project)
    if recipe.compiled is not None:  # it is in no layer
        return replace(released, lock_digest=lock.digest)
    return ensure(lock, images, home, log, released.platform)


def _check_machine(version: ModelVersion, environment: EnvironmentRef) -> None:
    own = Interpreter.of_this_machine()
    if (own.python, own.platform) != (environment.python, environment.platform):
        raise EnvironmentBuildError(
            f"The image of {version.name}:{version.version} has packages for Python {environment.python} on "
            f"{environment.platform}, and this is {own.python} on {own.platform}",
            f"call a Modelyard that runs on Python {environment.python}, on such a machine",
        )


def _lock(project: Path) -> Lock:
    from modelyard.project import load
    from modelyard.steps.prepare import lock_of

    return lock_of(load(project), project)


def _base(name: str | None, images: ImageStore, address: StoreAddress, home: Path) -> Base | None:
    if name is None:
        return None
    from modelyard.images.base import pull_same_base

    return pull_same_base(name, images, address, home)
