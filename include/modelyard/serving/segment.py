"""A segment of the prediction log: a file of JSON lines that is written once, closed by a rename, and sent away whole.

It consists of gzip members, each a batch written by one call: what a kill leaves behind can be read up to the last
whole member. Standard library only: who sends the segments away and who reads them knows them from here.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

KINDS = ("predictions", "feedback")
OPEN, CLOSED = ".open", ".jsonl.gz"
MOST_BYTES = 4 * 1024 * 1024  # of a segment, compressed, beyond which the next one is begun

_NAME = re.compile(
    r"(?P<kind>predictions|feedback)\.(?P<version>[1-9][0-9]{0,8}|unknown)\.(?P<began>[0-9]{8}T[0-9]{6}Z)"
    r"\.(?P<writer>[0-9a-f]{12})\.(?P<number>[0-9]{1,9})(?:\.open|\.(?P<records>[0-9]{1,9})\.jsonl\.gz)"
)
_TIME = "%Y%m%dT%H%M%SZ"
_GZIP = 31  # zlib's word for a gzip member
_PIECE, _UNPACKED = 32 * 1024, 1024 * 1024  # bytes that are looked at together, however much they unpack to
_YOUNG = 60.0
_MOST_RECOVERED = 64 * 1024 * 1024


@dataclass(frozen=True)
class SegmentName:
    """What a segment's file name says; no two segments of a model have the same.

    Attributes:
        kind: one of ``KINDS``.
        version: of the model that answered; ``unknown`` where nobody told the server.
        began: when its first record came, to the second.
        writer: the server's process, 12 random hexadecimal digits.
        number: counts the writer's segments.
        records: lines in it; None while it is open.
    """

    kind: str
    version: str
    began: datetime
    writer: str
    number: int
    records: int | None = None

    @classmethod
    def parse(cls, name: str) -> SegmentName | None:
        """Return what a file's name says; None for one that is no segment's."""
        if (match := _NAME.fullmatch(name)) is None:
            return None
        try:
            began = datetime.strptime(match["began"], _TIME).replace(tzinfo=UTC)
        except ValueError:  # the 31st of February
            return None
        records = None if match["records"] is None else int(match["records"])
        return cls(match["kind"], match["version"], began, match["writer"], int(match["number"]), records)

    @property
    def file(self) -> str:
        """The name of its file, in the server's folder."""
        ending = OPEN if self.records is None else f".{self.records}{CLOSED}"
        return f"{self.kind}.{self.version}.{self.began.strftime(_TIME)}.{self.writer}.{self.number}{ending}"

    @property
    def path(self) -> str:
        """Where it is kept in the object store, below the model's and environment's prefix: by kind, day and hour."""
        return f"{hour_folder(self.kind, self.began)}/{self.file.partition('.')[2]}"


def hour_folder(kind: str, moment: datetime) -> str:
    """Return the folder of the segments that began within the hour of ``moment`` (UTC)."""
    return moment.strftime(f"{kind}/%Y-%m-%d/%H")


class Segment:
    """A segment that is being written; locked (flock) for as long as its writer lives.

    Raises:
        OSError: from every method; what was appended before is on disk all the same.
    """

    def __init__(self, folder: Path, name: SegmentName) -> None:
        self._name = name
        self._path = folder / name.file
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self._records = 0
        self.size = 0

    def append(self, member: bytes, records: int) -> None:
        """Append a batch that ``compressed`` has made; the system keeps it even if this process is killed now."""
        written = 0
        try:
            while written < len(member):
                written += os.write(self._descriptor, memoryview(member)[written:])
        except OSError:
            os.ftruncate(self._descriptor, self.size)  # a full disk took a part: never a torn member before a whole one
            raise
        self.size += len(member)
        self._records += records

    def close(self) -> None:
        """Have it on disk, whatever happens to the machine, and rename it: now it may be sent away."""
        try:
            os.fsync(self._descriptor)
            self._path.rename(self._path.with_name(replace(self._name, records=self._records).file))
        finally:
            os.close(self._descriptor)


def compressed(lines: bytes | bytearray) -> bytes:
    """Return lines as one gzip member; quick rather than small."""
    packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    return packer.compress(lines) + packer.flush()


def members(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the end of each whole gzip member of a segment, and the lines in it; stop at what is none."""
    view, start = memoryview(data), 0
    while start < len(data):
        unpacker, at, lines = zlib.decompressobj(_GZIP), start, 0
        try:
            while not unpacker.eof:
                piece: bytes | memoryview = unpacker.unconsumed_tail
                if not piece:
                    piece = view[at : at + _PIECE]
                    at += len(piece)
                if not piece:
                    return
                lines += unpacker.decompress(piece, _UNPACKED).count(b"\n")
        except zlib.error:
            return
        start = at - len(unpacker.unused_data)
        yield start, lines


def recover(path: Path) -> bool:
    """Close an open segment whose writer is gone, up to its last whole batch; return False while the writer lives.

    Args:
        path: of the open segment, in a folder that others may write to: a link is not followed.

    Raises:
        OSError: it cannot be read or renamed.
    """
    name = SegmentName.parse(path.name)
    assert name is not None  # noqa: S101 - who lists the folder has asked
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return True  # closed meanwhile
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        state = os.fstat(descriptor)
        if state.st_size == 0 and time.time() - state.st_mtime < _YOUNG:
            return False  # its writer may be about to lock it
        found = list(members(os.read(descriptor, _MOST_RECOVERED)))
        if not found:
            path.unlink()
            return True
        os.ftruncate(descriptor, found[-1][0])
        os.fsync(descriptor)
        path.rename(path.with_name(replace(name, records=sum(lines for _, lines in found)).file))
    except FileNotFoundError:
        pass  # its writer has closed it between our look at the folder and our lock
    finally:
        os.close(descriptor)
    return True
