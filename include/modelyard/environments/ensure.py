"""Environments in the image store: built when they are not there yet, and never twice."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PurePosixPath

from modelyard.client import stand_in
from modelyard.environments.build import Progress, build, compile_bytecode, is_left_out
from modelyard.environments.lock import Lock, read_lock
from modelyard.environments.own import own_lock
from modelyard.environments.reference import EnvironmentRef, layer_of, python_in_image
from modelyard.environments.unneeded import remove_tests
from modelyard.environments.workspace import workspace
from modelyard.errors import EnvironmentBuildError, ImageError
from modelyard.images.image import Image, empty
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import Kind, Layer, tree
from modelyard.images.libc import GLIBC, TARGETS
from modelyard.images.paths import ROOT
from modelyard.images.store import ImageStore
from modelyard.images.unpack import unpack_shared

_VERSION = "3"  # part of each tag: a change of how environments are built makes new ones
_INTERPRETER = "io.modelyard.python"  # the exact version
# Of Modelyard's own code, only this comes into the server's environment.
_OWN = ("__init__.py", "errors.py", "serving", "client")


def ensure(
    lock: Lock, images: ImageStore, home: Path, progress: Progress, platform: str | None = None
) -> EnvironmentRef:
    """Return the environment of ``lock`` for this machine's Python, built first when the store has none.

    Args:
        lock: the packages.
        images: where it is kept.
        home: this machine's folder, for uv's cache.
        progress: given a line now and then.
        platform: that it is for (``linux/arm64``); None is this machine's, where alone it can be run.

    Raises:
        EnvironmentBuildError: the lock cannot be installed.
        ImageError, Unavailable: the store refuses, or store or package index cannot be reached.
    """
    return _ensure(_Recipe("environment", lock, lock.digest, {}), images, home, progress, platform)


def ensure_server(
    images: ImageStore, home: Path, progress: Progress, python: str, platform: str | None = None
) -> EnvironmentRef:
    """Return the model server's own environment, the server in it, built first when the store has none.

    Args:
        images: where it is kept.
        home: this machine's folder, for uv's cache.
        progress: given a line now and then.
        python: the version the image runs on (``3.11``).
        platform: as for :func:`ensure`.

    Raises:
        EnvironmentBuildError: that is not this machine's Python, or the server's packages cannot be installed.
        ImageError, Unavailable: as for :func:`ensure`.
    """
    _check_python(python)
    package = Path(str(files("modelyard")))
    lock = server_lock()
    sources = {path.relative_to(package): path for name in _OWN for path in _modules(package / name)}
    key = hashlib.sha256(lock.digest.encode())
    for name, path in sorted(sources.items()):
        key.update(f"\0{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
    return _ensure(_Recipe("server", lock, key.hexdigest(), sources), images, home, progress, platform)


def server_lock() -> Lock:
    """Return the packages of the model server's own environment."""
    return read_lock(Path(str(files("modelyard"))) / "serving" / "requirements.txt")


def ensure_runner(images: ImageStore, home: Path, progress: Progress) -> EnvironmentRef:
    """Return the environment of Modelyard's own steps, without Modelyard in it, built first when the store has none.

    Raises:
        EnvironmentBuildError: what they need is not installed here, or can't be installed anew.
        ImageError, Unavailable: as for :func:`ensure`.
    """
    lock = own_lock()
    return _ensure(_Recipe("runner", lock, lock.digest, {}), images, home, progress)


def ensure_converters(images: ImageStore, home: Path, progress: Progress) -> EnvironmentRef:
    """Return what converts models to ONNX, built first when the store has none.

    It is no environment that runs by itself: it lacks what every project with such a model has.

    Raises:
        EnvironmentBuildError: the converters cannot be installed; ImageError, Unavailable: as for :func:`ensure`.
    """
    lock = read_lock(Path(str(files("modelyard"))) / "compilation" / "requirements.txt")
    return _ensure(_Recipe("converter", lock, lock.digest, {}), images, home, progress)


def python_of(ref: EnvironmentRef, images: ImageStore, home: Path) -> Path:
    """Return the interpreter of an environment: in the image this process runs in, or unpacked on this machine.

    Of a whole image it is what stands for the one in the container beside this process.

    Raises:
        EnvironmentBuildError: the environment is for another Python than this machine's.
        ImageError: the store does not have it; Unavailable: the store cannot be reached.
    """
    _check_python(ref.python)
    if ref.executable is not None:
        return stand_in.lay(home)
    return python_in_image(ref) or unpack_shared(layer_of(ref, images), home) / "bin" / "python"


def _check_python(python: str) -> None:
    own = Interpreter.of_this_machine().python
    if python != own:
        raise EnvironmentBuildError(
            f"The project's environment is for Python {python}, and this machine's is {own}",
            "run all steps of a pipeline with the same Python, or start it anew",
        )


@dataclass(frozen=True)
class _Recipe:
    """What an environment is made of.

    Attributes:
        kind: of its layer, and the repository it is kept in.
        lock: its packages.
        key: a digest of everything that determines it, beside interpreter and platform.
        own: files of Modelyard to lay into the package ``modelyard``, by their path in it.
    """

    kind: Kind
    lock: Lock
    key: str
    own: Mapping[Path, Path]


def _ensure(
    recipe: _Recipe, images: ImageStore, home: Path, progress: Progress, platform: str | None = None
) -> EnvironmentRef:
    interpreter = Interpreter.of_this_machine()
    platform = platform or interpreter.platform
    kind, key = recipe.kind, recipe.key.removeprefix("sha256:")[:40]
    target = "-".join([*platform.split("/"), *([GLIBC] if platform in TARGETS else [])])
    tag = f"{key}-{interpreter.python}-{target}-{images.compression}-{_VERSION}"
    digest = images.resolve(kind, tag)
    if digest is None:
        with workspace(home, f"{kind}-{tag}") as folder:
            digest = images.resolve(kind, tag)  # somebody else on this machine built it while we waited
            if digest is None:
                build(recipe.lock, interpreter, folder, home / "cache" / "uv", progress, platform)
                layer = _packed(recipe, interpreter, folder, images, progress)
                facts = {_INTERPRETER: interpreter.version}
                image = empty(platform.partition("/")[2]).append([layer], {}, facts)
                digest = _push(kind, tag, image, images)
    else:
        progress(f"The {kind} is built already ({digest[:19]})")
    image = images.pull(kind, digest)
    layer = image.layers[-1]
    reference = images.reference(kind, digest)
    return EnvironmentRef(
        lock_digest=recipe.lock.digest,
        python=interpreter.python,
        platform=platform,
        layer_digest=layer.digest,
        diff_id=layer.diff_id,
        repository=kind,
        image_digest=digest,
        reference=None if reference.startswith("oci:") else reference,
        tag=tag,
        interpreter=(image.parsed_manifest.get("annotations") or {}).get(_INTERPRETER, ""),
    )


def _packed(recipe: _Recipe, interpreter: Interpreter, folder: Path, images: ImageStore, progress: Progress) -> Layer:
    """Make the layer of an environment that was installed into ``folder``.

    The byte code is this interpreter's whatever the platform: it depends on the version of Python alone.
    """
    packages = folder / "lib" / f"python{interpreter.python}" / "site-packages"
    remove_tests(packages)
    package = packages / "modelyard"
    for name, path in recipe.own.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, package / name)
    prefix = f"{ROOT}/{recipe.kind}"
    compile_bytecode(folder, interpreter, f"/{prefix}")
    layer = images.pack(tree(folder, prefix, _is_left_out), recipe.kind)
    progress(f"Packed the {recipe.kind}: {layer.size / 1e6:.1f} MB, {layer.digest[:19]}")
    return layer


def _push(kind: Kind, tag: str, image: Image, images: ImageStore) -> str:
    try:
        return images.push(kind, image, tag)
    except ImageError:
        digest = images.resolve(kind, tag)
        if digest is None:
            raise
        return digest  # another machine was quicker, and its wheels were others (a lock without hashes): its are taken


def _modules(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = sorted(item for item in path.rglob("*") if item.is_file())
    return [item for item in found if "__pycache__" not in item.parts and item.suffix != ".pyc"]


def _is_left_out(path: PurePosixPath) -> bool:
    return is_left_out(str(path))
