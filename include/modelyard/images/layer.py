"""A layer: one compressed tar, known by the digest of its bytes. Equal folders give equal layers, anywhere, any day."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from io import BufferedReader, BytesIO, RawIOBase
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal, cast

from modelyard.errors import ImageError
from modelyard.images.compression import MEDIA_TYPES, Compression, Writer, compressing

Kind = Literal["environment", "server", "interpreter", "project", "model", "runner", "code", "converter"]

# Kinds that are packed once for a lock, and shared by many images.
_PACKAGES: frozenset[Kind | None] = frozenset({"environment", "server", "runner", "converter"})
PARTIAL = ".partial-"  # how the names of unfinished files begin
_DAY = 86_400.0
_TIME = 315_532_800  # 1980-01-01: the earliest a zip file can hold, for programs that zip what they find


@dataclass(frozen=True)
class Layer:
    """A layer as a value; its bytes are read only when asked for.

    Attributes:
        digest: ``sha256:…`` of the compressed bytes.
        diff_id: ``sha256:…`` of the tar itself.
        size: of the compressed bytes.
        media_type: true to the bytes.
        opener: gives the compressed bytes from their start; :meth:`open` is how to call it.
        kind: what of a model image it holds; None for a layer of a base image.
        origin: ``host/repository`` of a registry that has it, if one is known: it can be mounted from there.
    """

    digest: str
    diff_id: str
    size: int
    media_type: str
    opener: Callable[[], BinaryIO] = field(repr=False, compare=False)
    kind: Kind | None = None
    origin: str | None = field(default=None, compare=False)

    def open(self) -> BinaryIO:
        """Return a new stream of the compressed bytes, which raises at its end when they have another digest."""
        return cast("BinaryIO", BufferedReader(_Verified(self.opener(), self.digest), 1 << 20))


@dataclass(frozen=True)
class Entry:
    """One member of a layer.

    Attributes:
        path: in the image, without a leading slash.
        content: a file to copy, bytes, or the target of a symbolic link; None for a folder.
        executable: 0755 instead of 0644.
    """

    path: str
    content: Path | bytes | str | None
    executable: bool = False


def tree(folder: Path, prefix: str, skip: Callable[[PurePosixPath], bool] = lambda _: False) -> list[Entry]:
    """List ``folder``'s files, links and folders as entries below ``prefix``.

    Args:
        folder: sockets and other special files in it are left out; links are kept as links.
        prefix: path in the image, as ``opt/modelyard/model``.
        skip: asked for each path relative to ``folder``; a skipped folder is not entered.
    """
    entries: list[Entry] = [Entry(prefix, None)]
    pending = [PurePosixPath()]
    while pending:
        inside = pending.pop()
        with os.scandir(folder / inside) as found:
            for item in found:
                path = inside / item.name
                if skip(path):
                    continue
                target = _in_utf8(f"{prefix}/{path}")
                if item.is_symlink():
                    entries.append(Entry(target, _in_utf8(os.readlink(item.path))))  # noqa: PTH115 - Path would normalize it
                elif item.is_dir():
                    entries.append(Entry(target, None))
                    pending.append(path)
                elif item.is_file():
                    executable = bool(item.stat().st_mode & stat.S_IXUSR)
                    entries.append(Entry(target, Path(item.path), executable))
    return entries


def _in_utf8(name: str) -> str:
    """A file's name as an image has it, whatever encoding this process reads names in."""
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def sweep(folder: Path, prefix: str = PARTIAL) -> None:
    """Remove what killed processes left: files in ``folder`` whose name begins so, untouched for a day."""
    for path in folder.glob(f"{prefix}*"):
        with suppress(FileNotFoundError):  # another process sweeps too
            if time.time() - path.stat().st_mtime > _DAY:
                path.unlink()


def pack(
    entries: Iterable[Entry],
    blobs: Path,
    compression: Compression,
    kind: Kind | None = None,
    *,
    durable: bool = True,
) -> Layer:
    """Write ``entries`` as a layer into ``blobs``, under its digest; memory stays flat whatever their size.

    Sorted, parent folders added, times, owners and modes fixed, so that the bytes depend on paths and contents alone.
    The file appears under its name only when it is whole, and on the disk unless it need not be ``durable``.
    """
    blobs.mkdir(parents=True, exist_ok=True)
    with writing(blobs) as (file, path):
        compressed = Digesting(file)
        with compressing(compressed, compression, for_good=kind in _PACKAGES) as stream:
            plain = Digesting(stream)
            _write_tar(entries, plain)
        file.flush()
        if durable:
            os.fsync(file.fileno())
        target = blobs / compressed.digest.removeprefix("sha256:")
        path.replace(target)
    return Layer(
        digest=compressed.digest,
        diff_id=plain.digest,
        size=compressed.size,
        media_type=MEDIA_TYPES[compression],
        opener=lambda: target.open("rb"),
        kind=kind,
    )


def compress(layer: Layer, blobs: Path, compression: Compression) -> Layer:
    """Write a layer that is a plain tar compressed into ``blobs``, as :func:`pack` does.

    Raises:
        ImageError: its bytes are not those of its digest, or it is no plain tar.
    """
    if not layer.media_type.endswith(".tar") or layer.digest != layer.diff_id:
        raise ImageError(f"Layer {layer.digest} is no plain tar ({layer.media_type})", "build the image again")
    blobs.mkdir(parents=True, exist_ok=True)
    with writing(blobs) as (file, path):
        compressed = Digesting(file)
        with compressing(compressed, compression) as stream, layer.open() as plain:
            while data := plain.read(1 << 20):
                stream.write(data)
        target = blobs / compressed.digest.removeprefix("sha256:")
        path.replace(target)
    return replace(
        layer,
        digest=compressed.digest,
        size=compressed.size,
        media_type=MEDIA_TYPES[compression],
        opener=lambda: target.open("rb"),
    )


@contextmanager
def writing(folder: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Give a new file in ``folder``, readable by all, which is removed again unless the block renames it."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=PARTIAL, delete=False) as file:
        path = Path(file.name)
        try:
            path.chmod(0o644)
            yield cast("BinaryIO", file), path
        finally:
            path.unlink(missing_ok=True)


class Digesting:
    """A stream that knows the sha256 and the size of what went through it."""

    def __init__(self, into: Writer | None = None) -> None:
        self._into = into
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        """``sha256:…`` of the bytes so far."""
        return f"sha256:{self._hash.hexdigest()}"

    def write(self, data: bytes, /) -> int:
        """Take ``data`` and hand it on."""
        self._hash.update(data)
        self.size += len(data)
        if self._into is not None:
            self._into.write(data)
        return len(data)


class _Verified(RawIOBase):
    def __init__(self, stream: BinaryIO, digest: str) -> None:
        self._stream = stream
        self._expected = digest
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._hash.update(data)
        if not data and f"sha256:{self._hash.hexdigest()}" != self._expected:
            raise ImageError(
                f"Layer {self._expected} was read as sha256:{self._hash.hexdigest()}",
                "build or push the image again; when it happens again, the storage is damaged",
            )
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _write_tar(entries: Iterable[Entry], into: Writer) -> None:
    with tarfile.open(fileobj=cast("BinaryIO", into), mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8") as tar:
        for entry in _complete(entries):
            info = tarfile.TarInfo(entry.path)
            info.mtime = _TIME
            info.mode = 0o755
            if entry.content is None:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            elif isinstance(entry.content, str):
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.content, 0o777
                tar.addfile(info)
            else:
                info.mode = 0o755 if entry.executable else 0o644
                with _content(entry.content) as (stream, size):
                    info.size = size
                    tar.addfile(info, stream)


class _content:  # noqa: N801 - a context manager, used as a function
    def __init__(self, content: Path | bytes) -> None:
        self._stream: BinaryIO = BytesIO(content) if isinstance(content, bytes) else content.open("rb")

    def __enter__(self) -> tuple[BinaryIO, int]:
        size = self._stream.seek(0, os.SEEK_END)
        self._stream.seek(0)
        return self._stream, size

    def __exit__(self, *_: object) -> None:
        self._stream.close()


def _complete(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Sorted, each path once, every parent folder before what is in it."""
    by_path = {entry.path: entry for entry in entries}
    for path in list(by_path):
        for parent in PurePosixPath(path).parents:
            if parent != PurePosixPath():
                by_path.setdefault(str(parent), Entry(str(parent), None))
    return (by_path[path] for path in sorted(by_path, key=lambda path: path.split("/")))
