"""An image as ``docker load`` takes it and ``docker save`` gives it: a tar of its config and its layers."""

from __future__ import annotations

import gzip
import json
import posixpath
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

from modelyard.errors import ImageError
from modelyard.images.base import Base
from modelyard.images.compression import decompressing
from modelyard.images.image import Image, digest_of
from modelyard.images.layer import Layer
from modelyard.images.paths import SHARED
from modelyard.images.store import ImageStore

_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"
_PLAIN = "application/vnd.oci.image.layer.v1.tar"


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


def read_docker_archive(archive: BinaryIO, folder: Path) -> Image:
    """Return the one image of an archive; its layers are plain tars.

    Args:
        archive: read once, from its start to its end.
        folder: where its files are laid down, and the layers stay.

    Raises:
        ImageError: it is not whole, or not of one image.
    """
    files: dict[str, Path] = {}
    links: dict[str, str] = {}  # of layers that are the same
    try:
        with tarfile.open(fileobj=archive, mode="r|") as tar:
            for number, member in enumerate(tar):
                if member.issym():
                    links[member.name] = posixpath.normpath(
                        posixpath.join(posixpath.dirname(member.name), member.linkname)
                    )
                elif (content := tar.extractfile(member)) is not None:
                    files[member.name] = folder / str(number)
                    with files[member.name].open("wb") as file:
                        shutil.copyfileobj(content, file, _CHUNK)
        (described,) = json.loads(files["manifest.json"].read_bytes())
        config = json.loads(files[described["Config"]].read_bytes())
        layers = [
            _plain(files[links.get(name, name)], diff_id)
            for name, diff_id in zip(described["Layers"], config["rootfs"]["diff_ids"], strict=True)
        ]
    except (tarfile.TarError, ValueError, KeyError) as error:
        raise ImageError(f"The engine gave no whole image: {error!r}", "run the step again") from error
    return Image.of(config, layers, {})


def _plain(file: Path, diff_id: str) -> Layer:
    """Return a layer as a plain tar; an engine that keeps images in containerd gives them as they are kept."""
    with file.open("rb") as stream:
        is_compressed = stream.read(len(_GZIP)) == _GZIP
    opener = partial(gzip.open if is_compressed else Path.open, file, "rb")
    return Layer(diff_id, diff_id, file.stat().st_size, _PLAIN, cast("Callable[[], BinaryIO]", opener))


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
