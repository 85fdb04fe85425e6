"""Layers back to folders: an image as one tree, and a model image the way this machine runs it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from modelyard.errors import ImageError
from modelyard.images.compression import decompressing
from modelyard.images.image import Image
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import Layer
from modelyard.images.paths import ROOT, SHARED
from modelyard.images.store import ImageStore

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_REST = 1 << 20


def unpack(image: Image, folder: Path) -> None:
    """Unpack all layers of ``image`` over each other into ``folder``, which appears only once it is whole.

    Raises:
        ImageError: a layer has other bytes than it claims, or would write outside of the folder.
    """
    with _appearing(folder) as partial:
        for layer in image.layers:
            _apply(layer, partial, "")


def unpack_model_image(images: ImageStore, repository: str, digest: str, home: Path) -> Path:
    """Return the folder of a model image on this machine, ready to run: ``environment server project model`` in it.

    Environments are unpacked once and shared by all images that have them; so is the image itself. Several processes
    may ask at once; one killed in the middle leaves nothing that a later one would take for whole.

    Raises:
        ImageError: the image is not there, or not what it claims to be; Unavailable: the registry cannot be reached.
    """
    root = home / "unpacked" / digest.removeprefix("sha256:")
    image = images.pull(repository, digest)
    shared = {layer.kind: unpack_shared(layer, home) for layer in image.layers if layer.kind in SHARED}

    def fill(partial: Path) -> None:
        for layer in image.layers:
            if layer.kind in ("project", "model"):
                _apply(layer, partial, ROOT)
        for kind, folder in shared.items():
            (partial / str(kind)).symlink_to(folder)

    _once(root, fill)
    return root


def unpack_shared(layer: Layer, home: Path) -> Path:
    """Return the folder of an environment's layer on this machine, with this machine's interpreter in it."""
    folder = home / "environments" / layer.diff_id.removeprefix("sha256:")
    interpreter = Interpreter.of_this_machine()

    def fill(partial: Path) -> None:
        _apply(layer, partial, f"{ROOT}/{layer.kind}")
        interpreter.configure(partial)

    _once(folder, fill)
    if not interpreter.runs(folder):  # unpacked for another Python of this version, maybe gone by now
        interpreter.configure(folder)
    return folder


def _once(folder: Path, fill: Callable[[Path], None]) -> None:
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with _appearing(folder) as partial:
                fill(partial)


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """Give a folder to fill that gets the name ``folder`` at the end; what a killed process left is removed first."""
    partial = folder.with_name(f"{folder.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _apply(layer: Layer, folder: Path, prefix: str) -> None:
    """Unpack one layer over what is in ``folder``; what lies at ``prefix`` comes to its top, the rest is left out."""
    top = PurePosixPath(prefix)
    with layer.open() as stream:
        with decompressing(stream, layer.media_type) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
            for member in tar:
                path = PurePosixPath(member.name.lstrip("/"))
                if path == top or not path.is_relative_to(top):
                    continue
                inside = path.relative_to(top)
                if inside.name.startswith(_WHITEOUT):
                    _white_out(folder, inside)
                    continue
                member.name = str(inside)
                _extract(tar, member, folder, layer)
        while stream.read(_REST):  # to its end, where its digest is checked
            pass


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, layer: Layer) -> None:
    target = folder / member.name
    if target.is_symlink() or (target.exists() and not (target.is_dir() and member.isdir())):
        _remove(target)
    try:
        tar.extract(member, folder, set_attrs=not member.issym(), filter=_contained)
    except tarfile.FilterError as error:
        raise ImageError(
            f"Layer {layer.digest} holds '{member.name}', which does not stay within its folder: {error}",
            "do not use this image: it was not made by Modelyard",
        ) from error


def _contained(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """Refuse what would be written outside of the folder. A symbolic link may point anywhere: it is the image's."""
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise tarfile.SpecialFileError(member)
    if member.islnk():
        target = Path(folder, member.linkname).resolve()
        if not target.is_relative_to(Path(folder).resolve()):
            raise tarfile.LinkOutsideDestinationError(member, str(target))
    return tarfile.tar_filter(member, folder)  # resolves the links on the way to the member's place


def _white_out(folder: Path, path: PurePosixPath) -> None:
    parent = folder / path.parent
    if not parent.resolve().is_relative_to(folder.resolve()):
        raise ImageError(f"A layer would remove '{path}', outside of its folder", "do not use this image")
    if path.name == _OPAQUE:
        for child in parent.iterdir():
            _remove(child)
    else:
        _remove(parent / path.name.removeprefix(_WHITEOUT))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
