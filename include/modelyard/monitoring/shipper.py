"""The shipper: takes closed segments from the folder of a server's log into the object store; run beside the server.

A segment is deleted when the store has it whole. Doing it twice is harmless, so this process may be killed at any
moment; while the store is away, segments wait in the folder, whose size the server bounds. The model's code may write
to the folder: a file there is believed only to be bytes, and only when it is an ordinary file with a segment's name.
"""

from __future__ import annotations

import io
import json
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

from modelyard.errors import ModelyardError, StoreError
from modelyard.serving.log_folder import SHIPPED, shipped
from modelyard.serving.segment import KINDS, SegmentName, recover
from modelyard.store.artifacts import Backend

_LOOK_SECONDS = 1.0
_LONGEST_WAIT = 30.0  # seconds between two tries while the store is away or refuses
_MOST_BYTES = 64 * 1024 * 1024  # of a segment; a server's own are much smaller
_MOST_LEFT_ALONE = 100  # files that are told of


class Shipper:
    """Empties one folder into one prefix of the object store.

    Args:
        folder: of the server's log.
        prefix: ``served/MODEL/ENVIRONMENT``.
        connect: opens the store; called again after it has refused, since its credential may have been replaced.
        say: one line for the log.
    """

    def __init__(self, folder: Path, prefix: str, connect: Callable[[], Backend], say: Callable[[str], None]) -> None:
        self._folder = folder
        self._prefix = prefix
        self._connect = connect
        self._say = say
        self._store: Backend | None = None
        self._left_alone: set[str] = set()
        self._counts = dict.fromkeys(KINDS, 0) | shipped(folder)

    def run(self, stop: threading.Event) -> bool:
        """Ship what there is and what comes; once told to stop, what is left: when the server has ended, that is all.

        While the store is away it goes on trying, even then: whoever runs it knows how long that is worth it.

        Returns:
            Whether nothing is left.
        """
        wait = 0.0
        while True:
            stopping = stop.is_set()  # looked at first: what was closed before that is in this round
            try:
                left = self.ship()
            except ModelyardError as error:
                wait = min(_LONGEST_WAIT, wait * 2 or 1.0)
                self._store = None
                self._say(f"{error.message}; trying again in {wait:g} s")
            else:
                wait = 0.0
                if stopping:
                    return not left
            if stopping:
                time.sleep(wait)
            else:
                stop.wait(wait or _LOOK_SECONDS)

    def ship(self) -> bool:
        """Ship all segments that are closed, or whose writer has been killed; return whether others are left.

        Raises:
            Unavailable, StoreError: the store cannot be reached, or refuses. What was not shipped is there still.
        """
        for path, name in self._segments():
            if name.records is None:
                try:
                    recover(path)
                except OSError as error:
                    self._leave_alone(path, str(error))
        for path, name in self._segments():
            if name.records is not None and (data := self._read(path)) is not None:
                if self._store is None:
                    self._store = self._connect()
                self._store.write(f"{self._prefix}/{name.path}", io.BytesIO(data), len(data))
                path.unlink(missing_ok=True)
                self._count(name.kind, name.records)
        return bool(self._segments())

    def _segments(self) -> list[tuple[Path, SegmentName]]:
        """Return all segments, the oldest first."""
        try:
            entries = list(os.scandir(self._folder))
        except FileNotFoundError:  # the server has not made it yet
            return []
        except OSError as error:
            raise StoreError(
                f"{self._folder} cannot be read: {error.strerror}",
                "run the shipper as the user that the server runs as",
            ) from error
        found = []
        for entry in entries:
            if (name := SegmentName.parse(entry.name)) is not None:
                found.append((Path(entry.path), name))
            elif not entry.name.startswith(SHIPPED):
                self._leave_alone(Path(entry.path), "it has not the name of one")
        return sorted(found, key=lambda one: (one[1].began, one[1].writer, one[1].number))

    def _read(self, path: Path) -> bytes | None:
        """Return a segment's bytes; None when it is none, whatever its name says."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
                state = os.fstat(descriptor)
                if stat.S_ISREG(state.st_mode) and state.st_nlink == 1 and state.st_size <= _MOST_BYTES:
                    return file.read(_MOST_BYTES)
            why = "it is too large, or no ordinary file"
        except FileNotFoundError:
            return None
        except OSError as error:
            why = str(error)
        self._leave_alone(path, why)
        return None

    def _leave_alone(self, path: Path, why: str) -> None:
        if path.name not in self._left_alone and len(self._left_alone) < _MOST_LEFT_ALONE:
            self._left_alone.add(path.name)
            self._say(f"{str(path)!r} is no segment of a prediction log and is left alone: {why}")

    def _count(self, kind: str, records: int) -> None:
        """Tell the server, which shows it among its metrics."""
        self._counts[kind] += records
        draft = self._folder / f"{SHIPPED}.new"
        try:
            draft.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with os.fdopen(os.open(draft, flags, 0o600), "w") as file:
                json.dump(self._counts, file)
            draft.replace(self._folder / SHIPPED)
        except OSError as error:
            self._leave_alone(draft, str(error))
