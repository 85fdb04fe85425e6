"""The two compressions of a layer, each told by its media type and by the first bytes it writes.

zstd is several times quicker and a little smaller; gzip is what Docker before 23 and umoci can read.
Both give the same bytes for the same input whatever the number of cores: the input is cut into pieces of one size.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import BinaryIO, Literal, Protocol, Self, cast

from modelyard.errors import ImageError

Compression = Literal["zstd", "gzip"]

MEDIA_TYPES: dict[Compression, str] = {
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
}
_ZSTD_LEVEL = 3
_ZSTD_LEVEL_FOR_GOOD = 9  # a seventh smaller than the other, and four times the work
_GZIP_LEVEL = 6
_PIECE = 1 << 20
_BEHIND = 8  # pieces
_MOST_WORKERS = 4
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # no name, no time


class Writer(Protocol):
    """All that is asked of a stream of bytes to write to."""

    def write(self, data: bytes, /) -> int:
        """Take all of ``data``; return its length."""
        ...


@contextmanager
def compressing(into: Writer, compression: Compression, *, for_good: bool = False) -> Iterator[Writer]:
    """Give a stream whose bytes reach ``into`` compressed; complete only once the block has ended.

    ``into`` is written to by a thread: what comes out is hashed and written while more is read and compressed.

    Args:
        into: gets the compressed bytes.
        compression: how.
        for_good: work harder, where zstd can: for what is packed once and fetched often.
    """
    with _Following(into) as following:
        if compression == "zstd":
            import zstandard

            # At least one worker: zstd's output is the same for any number of workers, but another without any. Each
            # takes tens of megabytes.
            threads = min(_MOST_WORKERS, len(os.sched_getaffinity(0)))
            level = _ZSTD_LEVEL_FOR_GOOD if for_good else _ZSTD_LEVEL
            compressor = zstandard.ZstdCompressor(level=level, threads=threads)
            with compressor.stream_writer(cast("BinaryIO", following), write_size=_PIECE, closefd=False) as stream:
                yield stream
        else:
            with _Gzip(following) as stream:
                yield stream


@contextmanager
def decompressing(stream: BinaryIO, media_type: str) -> Iterator[BinaryIO]:
    """Give the uncompressed bytes of a layer.

    Raises:
        ImageError: ``media_type`` is of no layer that can be read.
    """
    if media_type.endswith((".tar.gzip", "tar+gzip")):
        import gzip

        with gzip.GzipFile(fileobj=stream, mode="rb") as plain:
            yield cast("BinaryIO", plain)
    elif media_type.endswith((".tar.zstd", "tar+zstd")):
        import zstandard

        with zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True, closefd=False) as plain:
            yield plain
    elif media_type.endswith(".tar"):
        yield stream
    else:
        raise ImageError(
            f"A layer of the media type '{media_type}' cannot be read",
            "use an image whose layers are plain, gzip or zstd tar archives",
        )


class _Following:
    """Writes on in a thread of its own, in order and not far behind; an error there is raised here."""

    def __init__(self, into: Writer) -> None:
        self._into = into
        self._pool = ThreadPoolExecutor(1)
        self._pending: deque[Future[int]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._drain(0)
        finally:
            self._pool.shutdown(cancel_futures=True)

    def write(self, data: bytes, /) -> int:
        self._pending.append(self._pool.submit(self._into.write, data))
        self._drain(_BEHIND)
        return len(data)

    def _drain(self, left: int) -> None:
        while len(self._pending) > left:
            self._pending.popleft().result()


class _Gzip:
    """One gzip member, its pieces deflated side by side and put together in order, as pigz does it."""

    def __init__(self, into: Writer) -> None:
        self._into = into
        self._workers = len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(self._workers)
        self._pending: deque[Future[bytes]] = deque()
        self._piece = bytearray()
        self._crc = 0
        self._size = 0

    def __enter__(self) -> Self:
        self._into.write(_GZIP_HEADER)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._send(last=True)
                self._drain(0)
                self._into.write(self._crc.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little"))
        finally:
            self._pool.shutdown(cancel_futures=True)

    def write(self, data: bytes, /) -> int:
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        self._piece += data
        while len(self._piece) >= _PIECE:
            self._send(last=False)
        return len(data)

    def _send(self, *, last: bool) -> None:
        piece = bytes(self._piece[:_PIECE])
        del self._piece[:_PIECE]
        self._pending.append(self._pool.submit(_deflate, piece, last))
        self._drain(2 * self._workers)

    def _drain(self, left: int) -> None:
        while len(self._pending) > left:
            self._into.write(self._pending.popleft().result())


def _deflate(piece: bytes, last: bool) -> bytes:
    deflate = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflate.compress(piece) + deflate.flush(zlib.Z_FINISH if last else zlib.Z_FULL_FLUSH)
