"""The folder of the prediction log on the server's disk: what is written to it, and how full it may be."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelyard.serving.board import Words
from modelyard.serving.segment import KINDS, MOST_BYTES, Segment, SegmentName, compressed

SHIPPED = "shipped.json"  # written by whoever sends segments away: how many records of each kind it has sent
_LOOK, _LOOK_WHEN_FULL = 10.0, 1.0  # seconds between two looks at how full the folder is
_TAKEN, _WRITTEN = range(2)
_SAID_AGAIN = 60.0  # seconds after which a trouble that lasts is told again


class LogFolder:
    """Segments of one server process. Used by one thread at a time.

    The folder is bounded, with the segments that wait in it to be sent away: what would go beyond is dropped, and
    nothing that was written once. A disk that takes no more is the same case.

    Args:
        folder: made if it is not there.
        version: of the model.
        most_bytes: of all files in the folder together.
        seconds: after which a segment is closed.
        say: one line for the server's own log.
        counted: two words of each process that writes to the folder: the bytes that it has taken room for, and those
            of them that it has written.
    """

    def __init__(
        self, folder: Path, version: str, most_bytes: int, seconds: float, say: Callable[[str], None], counted: Words
    ) -> None:
        self._folder = folder
        self._version = version
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._say = say
        self._writer = secrets.token_hex(6)
        self._number = 0
        self._open: dict[str, tuple[Segment, float]] = {}
        self._counted = counted
        counted.mine[_TAKEN] = counted.mine[_WRITTEN]  # one that was killed may have been about to write
        self._used = 0  # at the last look, less what all had written until then
        self._looked = -_LOOK
        self._said = -_SAID_AGAIN
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write(self, kind: str, lines: bytes | bytearray, records: int) -> bool:
        """Append a batch of lines, each with its line feed; return whether it is kept.

        Args:
            kind: one of ``KINDS``.
            lines: JSON.
            records: how many they are.
        """
        member = compressed(lines)
        self._counted.mine[_TAKEN] += len(member)  # before anybody looks: no two may take the same last room
        try:
            kept = self._has_room()
            if kept:
                self._append(kind, member, records)
        except OSError as error:
            kept = False
            self._tell(f"the prediction log cannot be written to {self._folder}: {error.strerror}; records are dropped")
        if kept:
            self._counted.mine[_WRITTEN] += len(member)
        else:
            self._counted.mine[_TAKEN] -= len(member)
        return kept

    def close_due(self) -> None:
        """Close what has been open long enough."""
        for kind, (_, began) in list(self._open.items()):
            if time.monotonic() - began >= self._seconds:
                self._close(kind)

    def close(self) -> None:
        """Close everything."""
        for kind in list(self._open):
            self._close(kind)

    @property
    def due(self) -> bool:
        """Something is open that is to be closed."""
        now = time.monotonic()
        return any(now - began >= self._seconds for _, began in self._open.values())

    def _append(self, kind: str, member: bytes, records: int) -> None:
        segment, _ = self._open.get(kind) or self._begin(kind)
        segment.append(member, records)
        if segment.size >= MOST_BYTES:
            self._close(kind)

    def _begin(self, kind: str) -> tuple[Segment, float]:
        self._number += 1
        name = SegmentName(kind, self._version, datetime.now(UTC), self._writer, self._number)
        self._open[kind] = Segment(self._folder, name), time.monotonic()
        return self._open[kind]

    def _close(self, kind: str) -> None:
        segment, _ = self._open.pop(kind)
        try:
            segment.close()
        except OSError as error:
            self._tell(f"a segment of the prediction log in {self._folder} cannot be closed: {error.strerror}")

    def _has_room(self) -> bool:
        now = time.monotonic()
        # Whoever sends segments away deletes here, too.
        if now - self._looked >= (_LOOK_WHEN_FULL if self._full() else _LOOK):
            # What others write during the look counts twice, which is better than never.
            written = self._counted.total(_WRITTEN)
            self._used, self._looked = sum(size for _, size in _files(self._folder)) - written, now
        if not self._full():
            return True
        self._tell(
            f"the prediction log in {self._folder} is full (at most {self._most_bytes} bytes): records are dropped "
            "until segments are sent away"
        )
        return False

    def _full(self) -> bool:
        """Return whether there would be too many bytes if all were written that anybody has taken room for."""
        return self._used + self._counted.total(_TAKEN) > self._most_bytes

    def _tell(self, text: str) -> None:
        if time.monotonic() - self._said >= _SAID_AGAIN:
            self._said = time.monotonic()
            self._say(text)


def waiting(folder: Path) -> tuple[Counter[str], int]:
    """Return the records by kind that are in closed segments, not sent away yet, and the bytes of the whole folder."""
    records: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
    total = 0
    for file, size in _files(folder):
        total += size
        name = SegmentName.parse(file)
        if name is not None and name.records is not None:
            records[name.kind] += name.records
    return records, total


def shipped(folder: Path) -> dict[str, int]:
    """Return the records by kind that were sent away from the folder; nothing where nobody does."""
    try:
        told: Any = json.loads((folder / SHIPPED).read_bytes()[:4096])
        return {kind: int(told[kind]) for kind in KINDS}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _files(folder: Path) -> list[tuple[str, int]]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                found.append((entry.name, entry.stat(follow_symlinks=False).st_size))
            except FileNotFoundError:  # it was sent away meanwhile
                continue
    return found
