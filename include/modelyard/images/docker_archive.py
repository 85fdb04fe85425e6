"""An image as ``docker load`` takes it: a tar of its config and its layers, made while it is read."""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import BinaryIO

from modelyard.images.base import Base
from modelyard.images.compression import decompressing
from modelyard.images.image import Image, digest_of
from modelyard.images.layer import Layer
from modelyard.images.paths import SHARED
from modelyard.images.store import ImageStore

_CHUNK = 1 << 20


def docker_archive(image: Image, name: str, progress: Callable[[str], None]) -> Iterator[bytes]:
    """Yield the archive; memory stays flat, whatever the image's size.

    Gzip layers go as they are. Those of zstd are laid down on this machine's disk plain, one at a time: engines before
    23 read no zstd, and the archive says the size of what comes.

    Args:
        image: its layers are read from wherever they are, and verified.
        name: what the engine is to call it, ``wine:3``.
        progress: given a line a layer.

    Raises:
        ImageError: a layer is not what its digest says; Unavailable: what has the layers is away.
    """
    config = f"{_hex(digest_of(image.config))}.json"
    yield from _member(config, BytesIO(image.config), len(image.config))
    paths: list[str] = []
    for number, layer in enumerate(image.layers, start=1):
        path = f"{_hex(layer.diff_id)}.tar"
        if path not in paths:
            progress(f"Layer {number} of {len(image.layers)}, {layer.kind or 'base'}: {layer.size / 1e6:.1f} MB")
            with _readable(layer) as (stream, size):
                yield from _member(path, stream, size)
        paths.append(path)
    manifest = json.dumps([{"Config": config, "RepoTags": [name], "Layers": paths}]).encode()
    yield from _member("manifest.json", BytesIO(manifest), len(manifest))
    yield bytes(2 * tarfile.BLOCKSIZE)


def on_base(image: Image, base: Base, images: ImageStore, python: str) -> Image:
    """Return an image that has nothing below it, put on a base image whose Python runs it.

    Args:
        image: as it is kept in a folder.
        base: what goes below.
        images: where the one layer that is new is kept.
        python: that the image's packages are for, ``3.11``.

    Raises:
        EnvironmentBuildError: the base has another Python.
    """
    kinds = [layer.kind for layer in image.layers if layer.kind in SHARED]
    interpreter = images.pack(base.entries(python, image.platform, kinds), "interpreter")
    return base.image.append([*image.layers, interpreter], image.parsed_config["config"], {})


@contextmanager
def _readable(layer: Layer) -> Iterator[tuple[BinaryIO, int]]:
    with layer.open() as stream:
        if not layer.media_type.endswith("zstd"):
            yield stream, layer.size
            return
        with tempfile.TemporaryFile(prefix="modelyard-layer-") as plain:
            with decompressing(stream, layer.media_type) as decompressed:
                shutil.copyfileobj(decompressed, plain, _CHUNK)
            size = plain.tell()
            plain.seek(0)
            yield plain, size


def _member(name: str, content: BinaryIO, size: int) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    info.size = size
    yield info.tobuf(tarfile.PAX_FORMAT)
    while chunk := content.read(_CHUNK):
        yield chunk
    yield bytes(-size % tarfile.BLOCKSIZE)


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")
