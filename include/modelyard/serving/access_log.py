"""One JSON line a request to standard output, written in batches: a write for each would cost more than the answer.

By a thread of its own: whoever reads standard output may be slow or have stopped, and no request waits for that.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from queue import SimpleQueue
from typing import Protocol

import msgspec

from modelyard.serving.board import Board
from modelyard.serving.messages import Request, Response

_DELAY = 0.2  # seconds that a line may wait
_MOST_BYTES = 4 << 20  # that wait while nobody reads, and as many that are being written; what comes then is dropped
_PATIENCE = 2.0  # seconds for a reader to take the rest, at the end


class Raw(Protocol):
    """A stream without a buffer: one of Python's own must not be in use by a thread when the process ends."""

    def write(self, data: memoryview, /) -> int | None:
        """Return how many bytes were written, None when there is no room at the moment."""


class AccessLog:
    """Collects lines and has them written every fifth of a second, and when closed.

    Args:
        dropped: told how many lines were lost, as nobody read them or they could not be written.
    """

    def __init__(
        self,
        stream: Raw,
        version: str,
        board: Board | None = None,
        dropped: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._stream = stream
        self._board = board
        self._version = version
        self._dropped = dropped
        self._dropping = threading.Lock()
        self._lines: list[bytes] = []
        self._bytes = 0
        self._batches: SimpleQueue[list[bytes] | None] = SimpleQueue()
        self._busy = False  # the thread has a batch
        self._thread = threading.Thread(target=self._write_batches, name="access log", daemon=True)
        self._thread.start()
        self._encoder = msgspec.json.Encoder()
        self._second, self._stamp = 0, ""

    def write(self, request: Request, response: Response, seconds: float) -> None:
        """Note one answered request. Inputs and outputs are not in it: they may be personal."""
        if self._bytes > _MOST_BYTES:
            self._drop(1)
            return
        if not self._lines:
            asyncio.get_running_loop().call_later(_DELAY, self._hand_over)
        now = time.time()
        if (second := int(now)) != self._second:  # thousands of lines have the same
            self._second, self._stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        line = {
            "time": f"{self._stamp}.{int(now % 1 * 1000):03d}Z",
            "request_id": request.id,
            "method": request.method,
            "path": request.path,
            "status": response.status,
            "milliseconds": round(seconds * 1000, 3),
            "bytes_in": len(request.body),
            "bytes_out": len(response.body),
            "model_version": self._version,
        }
        encoded = self._encoder.encode(line)
        self._lines.append(encoded)
        self._bytes += len(encoded)

    def close(self) -> None:
        """Have all written that was noted, unless nobody reads it soon; nothing can be noted afterwards."""
        self._batches.put(self._lines)
        self._batches.put(None)
        self._thread.join(_PATIENCE)

    def _hand_over(self) -> None:
        if self._busy:
            asyncio.get_running_loop().call_later(_DELAY, self._hand_over)
            return
        self._busy = True
        self._batches.put(self._lines)
        self._lines, self._bytes = [], 0

    def _write_batches(self) -> None:
        while (lines := self._batches.get()) is not None:
            try:
                # A pipe takes a long write in pieces, and another process's in between.
                with nullcontext() if self._board is None else self._board.alone():
                    self._write_whole(b"".join(line + b"\n" for line in lines))
            except OSError:
                self._drop(len(lines))  # a reader that went away is no reason to stop answering
            self._busy = False

    def _write_whole(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            if (written := self._stream.write(rest)) is None:
                time.sleep(_DELAY)
            else:
                rest = rest[written:]

    def _drop(self, lines: int) -> None:
        with self._dropping:
            self._dropped(lines)
