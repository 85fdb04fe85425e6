"""One JSON line a request to standard output, written in batches: a write for each would cost more than the answer."""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext
from typing import BinaryIO

import msgspec

from modelyard.serving.board import Board
from modelyard.serving.messages import Request, Response

_DELAY = 0.2  # seconds that a line may wait


class AccessLog:
    """Collects lines and writes them every fifth of a second, and when closed."""

    def __init__(self, stream: BinaryIO, version: str, board: Board | None = None) -> None:
        self._stream = stream
        self._board = board
        self._version = version
        self._lines: list[bytes] = []
        self._encoder = msgspec.json.Encoder()
        self._second, self._stamp = 0, ""

    def write(self, request: Request, response: Response, seconds: float) -> None:
        """Note one answered request. Inputs and outputs are not in it: they may be personal."""
        if not self._lines:
            asyncio.get_running_loop().call_later(_DELAY, self.flush)
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
        self._lines.append(self._encoder.encode(line))

    def flush(self) -> None:
        """Write what was collected. A reader that went away is no reason to stop answering."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        try:
            with (
                nullcontext() if self._board is None else self._board.alone()
            ):  # a pipe takes a long write in pieces, and another process's in between
                self._stream.write(b"\n".join(lines) + b"\n")
                self._stream.flush()
        except BrokenPipeError:
            pass
