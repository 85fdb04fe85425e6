"""The log of a local service: its servers' output and the supervisor's own words, in a file of bounded size."""

from __future__ import annotations

import time
from pathlib import Path

_MOST_BYTES = 10 * 1024 * 1024


class ServiceLog:
    """Appends whole lines; a full file becomes ``NAME.1``, replacing the one before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)

    def write(self, lines: bytes) -> None:
        """Append lines as they are."""
        if self._file.tell() + len(lines) > _MOST_BYTES:
            self._file.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._file = self._path.open("ab", buffering=0)
        self._file.write(lines)

    def say(self, text: str) -> None:
        """Append a line of the supervisor's own."""
        self.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} supervisor: {text}\n".encode())
