"""Environments in the image store: built when they are not there yet, and never twice."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path, PurePosixPath

from modelyard.environments.build import Progress, build, compile_bytecode, is_left_out
from modelyard.environments.lock import Lock, read_lock
from modelyard.environments.reference import EnvironmentRef, layer_of
from modelyard.errors import EnvironmentBuildError, ImageError
from modelyard.images.image import empty
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import Kind, tree
from modelyard.images.paths import ROOT
from modelyard.images.store import ImageStore
from modelyard.images.unpack import unpack_shared

_RECIPE = "1"  # part of each tag: a change of how environments are built makes new ones
# Of Modelyard's own code, only this comes into the server's environment.
_OWN = ("__init__.py", "errors.py", "serving", "client")


def ensure(lock: Lock, images: ImageStore, home: Path, progress: Progress) -> EnvironmentRef:
    """Return the environment of ``lock`` for this machine's Python, built first when the store has none.

    Raises:
        EnvironmentBuildError: the lock cannot be installed.
        ImageError, Unavailable: the store refuses, or store or package index cannot be reached.
    """
    return _ensure("environment", lock, lock.digest, {}, images, home, progress)


def ensure_server(images: ImageStore, home: Path, progress: Progress, python: str) -> EnvironmentRef:
    """Return the model server's own environment, the server in it, built first when the store has none.

    Args:
        images: where it is kept.
        home: this machine's folder, for uv's cache.
        progress: given a line now and then.
        python: the version the image runs on (``3.11``).

    Raises:
        EnvironmentBuildError: that is not this machine's Python, or the server's packages cannot be installed.
        ImageError, Unavailable: as for :func:`ensure`.
    """
    own = Interpreter.of_this_machine().python
    if python != own:
        raise EnvironmentBuildError(
            f"The project's environment is for Python {python}, and this machine's is {own}",
            "run all steps of a pipeline with the same Python, or start it anew",
        )
    package = Path(str(files("modelyard")))
    lock = read_lock(package / "serving" / "requirements.txt")
    sources = {path.relative_to(package): path for name in _OWN for path in _modules(package / name)}
    key = hashlib.sha256(lock.digest.encode())
    for name, path in sorted(sources.items()):
        key.update(f"\0{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
    return _ensure("server", lock, f"sha256:{key.hexdigest()}", sources, images, home, progress)


def python_of(ref: EnvironmentRef, images: ImageStore, home: Path) -> Path:
    """Return the interpreter of an environment, unpacked on this machine when it was not yet.

    Raises:
        ImageError: the store does not have it; Unavailable: the store cannot be reached.
    """
    return unpack_shared(layer_of(ref, images), home) / "bin" / "python"


def _ensure(
    kind: Kind, lock: Lock, key: str, own: dict[Path, Path], images: ImageStore, home: Path, progress: Progress
) -> EnvironmentRef:
    interpreter = Interpreter.of_this_machine()
    platform = interpreter.platform.replace("/", "-")
    tag = f"{key.removeprefix('sha256:')[:40]}-{interpreter.python}-{platform}-{images.compression}-{_RECIPE}"
    digest = images.resolve(kind, tag)
    if digest is None:
        with _workspace(home) as folder:
            build(lock, interpreter, folder, home / "cache" / "uv", progress)
            packages = folder / "lib" / f"python{interpreter.python}" / "site-packages" / "modelyard"
            for name, path in own.items():
                target = packages / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
            compile_bytecode(folder, interpreter, f"/{ROOT}/{kind}")
            layer = images.pack(tree(folder, f"{ROOT}/{kind}", _is_left_out), kind)
        progress(f"Packed the {kind}: {layer.size / 1e6:.1f} MB, {layer.digest[:19]}")
        image = empty(interpreter.platform.partition("/")[2]).append([layer], {}, {})
        try:
            digest = images.push(kind, image, tag)
        except ImageError:
            digest = images.resolve(kind, tag)  # somebody else was quicker, with other bytes
            if digest is None:
                raise
    else:
        progress(f"The {kind} is built already ({digest[:19]})")
    layer = images.pull(kind, digest).layers[-1]
    reference = images.reference(kind, digest)
    return EnvironmentRef(
        lock_digest=lock.digest,
        python=interpreter.python,
        platform=interpreter.platform,
        layer_digest=layer.digest,
        diff_id=layer.diff_id,
        repository=kind,
        image_digest=digest,
        reference=None if reference.startswith("oci:") else reference,
    )


@contextmanager
def _workspace(home: Path) -> Iterator[Path]:
    """Give the name of a folder beside uv's cache, so that files are linked, not copied; gone afterwards."""
    (home / "cache").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home / "cache", prefix="build-") as folder:
        yield Path(folder) / "environment"


def _modules(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = sorted(item for item in path.rglob("*") if item.is_file())
    return [item for item in found if "__pycache__" not in item.parts and item.suffix != ".pyc"]


def _is_left_out(path: PurePosixPath) -> bool:
    return is_left_out(str(path))
