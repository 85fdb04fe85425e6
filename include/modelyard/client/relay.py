"""The connection to the parent process, which records the run: it has the credentials, this process has none."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.client import frames

# Standard input and output of a command have no room for a protocol, and a name in the file system works for
# notebooks' kernels too, which inherit no descriptors.
VARIABLE = "MODELYARD_RELAY"


class RelayError(RuntimeError):
    """The recording process refuses, or is gone: the run is not (further) recorded."""


@dataclass(frozen=True)
class KeptFile:
    """A file that the recording process has taken over: its digest (``sha256:…``) and its size in bytes."""

    digest: str
    size: int


class Relay:
    """One run's connection. Every message is answered, so that what was sent is known to be kept.

    Sacred sends heartbeats from a thread of its own: one message at a time.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    @classmethod
    def connect(cls, path: str) -> Relay:
        """Return a connection to the recording process that listens at ``path``.

        Raises:
            RelayError: none does.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(path)
        except OSError as error:
            connection.close()
            raise RelayError(f"Modelyard's recording process cannot be reached: {error}") from error
        return cls(connection)

    def request(self, event: str, **content: Any) -> dict[str, Any]:
        """Send one event and return what the recording process answers.

        Raises:
            RelayError: it refuses (what and why is in the message), or it is gone.
        """
        return self._exchange({"event": event, **content}, None)

    def put(self, path: str | Path) -> KeptFile:
        """Hand over a file's content; it may be changed or deleted afterwards.

        Raises:
            RelayError: the recording process cannot keep it.
            OSError: the file cannot be read.
        """
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            answer = self._exchange({"event": "put", "name": str(path)}, file)
        finally:
            os.close(file)
        return KeptFile(answer["digest"], answer["size"])

    def close(self) -> None:
        """End the connection; a run that has not ended by then counts as interrupted."""
        self._connection.close()

    def _exchange(self, message: frames.Message, file: int | None) -> dict[str, Any]:
        with self._lock:
            try:
                frames.send(self._connection, message, file)
                answer = frames.receive(self._connection)
            except OSError as error:
                raise RelayError(f"the connection to Modelyard's recording process broke: {error}") from error
        if answer is None:
            raise RelayError("Modelyard's recording process has ended")
        if "error" in answer:
            raise RelayError(str(answer["error"]))
        return answer
