"""Layers back to folders: a model image the way this machine runs it."""

# A Path for each of ten thousand files takes longer than writing them.
# ruff: noqa: PTH101, PTH102, PTH103, PTH108, PTH112, PTH114, PTH123, PTH211
from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path
from typing import BinaryIO, cast

from modelyard.errors import ImageError
from modelyard.images.compression import decompressing
from modelyard.images.copies import once
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import Layer
from modelyard.images.paths import ROOT, SHARED
from modelyard.images.store import ImageStore

_NO_NAME = ("", ".", "..")
_CHUNK = 1 << 20


def unpack_model_image(images: ImageStore, repository: str, digest: str, home: Path) -> Path:
    """Return the folder of a model image on this machine, ready to run: a folder in it for each kind of layer.

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

    once(root, fill)
    return root


def unpack_shared(layer: Layer, home: Path) -> Path:
    """Return the folder of an environment's layer on this machine, with this machine's interpreter in it."""
    folder = home / "environments" / layer.diff_id.removeprefix("sha256:")
    interpreter = Interpreter.of_this_machine()

    def fill(partial: Path) -> None:
        _apply(layer, partial, f"{ROOT}/{layer.kind}")
        interpreter.configure(partial)

    once(folder, fill)
    if not interpreter.runs(folder):  # unpacked for another Python of this version, maybe gone by now
        interpreter.configure(folder)
    return folder


def _apply(layer: Layer, folder: Path, prefix: str) -> None:
    """Unpack one layer over what is in ``folder``; what lies at ``prefix`` comes to its top, the rest is left out."""
    start = f"{prefix}/" if prefix else ""
    tree = _Tree(folder, layer.digest)
    with layer.open() as stream:
        with decompressing(stream, layer.media_type) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
            for member in tar:
                name = member.name.removeprefix("./").lstrip("/")
                if name.startswith(start) and name not in ("", "."):
                    tree.take(tar, member, name.removeprefix(start))
        while stream.read(_CHUNK):  # to its end, where its digest is checked
            pass


class _Tree:
    """A folder that members of a layer are written to, and nothing outside of it.

    Several times quicker than ``TarFile.extract`` with a filter, which looks at each member's whole path anew.
    """

    def __init__(self, folder: Path, layer: str) -> None:
        self._top = os.path.realpath(folder)
        self._layer = layer
        self._real: dict[str, str] = {}  # folders that were looked at, until a link could change them

    def take(self, tar: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> None:
        """Write one member, over or instead of what is there."""
        parent, _, last = name.rstrip("/").rpartition("/")
        folder = self._folder(parent, name)
        target = f"{folder}/{last}"
        if last in _NO_NAME:
            raise self._refused(name)
        if member.isdir():
            if os.path.islink(target) or not os.path.isdir(target):
                self._remove(target)
                os.mkdir(target)
            os.chmod(target, member.mode & 0o777 | 0o700)
        elif member.issym():
            self._remove(target)
            os.symlink(member.linkname, target)
            self._real.clear()
        elif member.islnk():
            other, _, linked = member.linkname.lstrip("/").rpartition("/")
            source = f"{self._folder(other, name)}/{linked}"
            if linked in _NO_NAME:
                raise self._refused(name)
            self._remove(target)
            os.link(source, target, follow_symlinks=False)
        elif member.isreg():
            self._remove(target)
            with open(target, "xb") as file, cast("BinaryIO", tar.extractfile(member)) as content:
                shutil.copyfileobj(content, file, _CHUNK)
                os.fchmod(file.fileno(), member.mode & 0o777)
        else:
            raise self._refused(name)

    def _folder(self, path: str, name: str) -> str:
        """The real place of a folder, made when it is not there; links on the way may not lead outside."""
        real = self._real.get(path)
        if real is None:
            real = os.path.realpath(f"{self._top}/{path}")
            if real != self._top and not real.startswith(f"{self._top}/"):
                raise self._refused(name)
            os.makedirs(real, exist_ok=True)
            self._real[path] = real
        return real

    def _remove(self, path: str) -> None:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
            self._real.clear()
        elif os.path.lexists(path):
            os.unlink(path)
            self._real.clear()

    def _refused(self, name: str) -> ImageError:
        return ImageError(
            f"Layer {self._layer} holds '{name}', which is no file or folder, or does not stay within its folder",
            "do not use this image: it was not made by Modelyard",
        )
