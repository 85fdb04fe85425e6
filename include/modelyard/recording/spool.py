"""Files and events of a run, on disk until they are in the store: MongoDB or S3 may be away for a while."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

JSON = dict[str, Any]

_CHUNK = 1024 * 1024
# Beyond this the sender waits: a run can't fill the disk with what nobody takes.
_MOST_BYTES = 256 * 1024 * 1024


class FileSpool:
    """Files by digest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Path] = {}

    def keep(self, file: int, name: str) -> tuple[str, int]:
        """Copy an open file; return its digest and size.

        Args:
            file: a descriptor; the caller closes it.
            name: what the file was called: its suffix is kept.

        Raises:
            ValueError: it is not a regular file; OSError: it cannot be copied.
        """
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise ValueError(f"'{name}' is not a regular file")
        digest, size = hashlib.sha256(), 0
        partial = self._folder / f"partial-{threading.get_ident()}"
        with partial.open("wb") as copy:
            while chunk := os.read(file, _CHUNK):
                digest.update(chunk)
                size += len(chunk)
                copy.write(chunk)
        key = f"sha256:{digest.hexdigest()}"
        path = self._folder / f"{digest.hexdigest()}{Path(name).suffix}"
        partial.replace(path)
        self._files[key] = path
        return key, size

    def path(self, digest: str) -> Path:
        """Return the copy of this digest.

        Raises:
            ValueError: none was kept.
        """
        if digest not in self._files:
            raise ValueError(f"no file {digest} was handed over")
        return self._files[digest]


class Journal:
    """Events in order, written by one thread and taken by another; on disk, so that many may wait."""

    def __init__(self, path: Path) -> None:
        self._write = path.open("xb", buffering=0)
        self._read = path.open("rb")
        self._changed = threading.Condition()
        self._waiting = 0
        self._closed = False

    def append(self, event: JSON) -> None:
        """Add an event, or nothing of it; waits while too much is waiting.

        Raises:
            OSError: it cannot be written.
        """
        line = json.dumps(event).encode() + b"\n"
        with self._changed:
            self._changed.wait_for(lambda: self._waiting < _MOST_BYTES or self._closed)
            self._put(line)
            self._waiting += len(line)
            self._changed.notify_all()

    def _put(self, line: bytes) -> None:
        start, rest = self._write.tell(), memoryview(line)
        try:
            while rest:  # a disk that is nearly full takes a part of it
                rest = rest[self._write.write(rest) :]
        except OSError:
            self._write.truncate(start)
            self._write.seek(start)
            raise

    def close(self) -> None:
        """Say that no more will come. The same again is no error."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[JSON]:
        """Yield events as they come, each counted as waiting until the next one is asked for; end when closed."""
        with self._write, self._read:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._waiting > 0 or self._closed)
                    if not self._waiting:
                        return
                    line = self._read.readline()  # in turn with the writer: what it has to take back is never read
                yield json.loads(line)
                with self._changed:
                    self._waiting -= len(line)
                    self._changed.notify_all()
