"""Frames of a 4-byte length and that many bytes over a socket pair, one asked and one answered at a time."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

_LENGTH = 4


class Channel(asyncio.Protocol):
    """One end. A stream reader's queues and wake-ups would take longer than the kernel takes to pass a frame on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        self._ended: ConnectionError | None = None

    @classmethod
    async def over(cls, connection: socket.socket) -> Channel:
        """Return the end that ``connection`` is; it is closed with it."""
        connection.setblocking(False)
        _, channel = await asyncio.get_running_loop().create_connection(cls, sock=connection)
        return channel

    async def ask(self, frame: bytes, seconds: float | None) -> bytes:
        """Send a frame and return the one that comes back, however long that takes if ``seconds`` is None.

        Raises:
            TimeoutError: none has come so soon.
            ConnectionError: the other end is gone.
        """
        if self._ended is not None:
            raise self._ended
        answer: asyncio.Future[bytes] = self._loop.create_future()
        self._answer = answer
        limit = None if seconds is None else self._loop.call_later(seconds, self._give_up, answer)
        self._transport.write(len(frame).to_bytes(_LENGTH, "big") + frame)
        try:
            return await answer
        finally:
            self._answer = None
            if limit is not None:
                limit.cancel()

    def close(self) -> None:
        """End the connection."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:  # noqa: D102
        self._received += data
        size = _LENGTH + int.from_bytes(self._received[:_LENGTH], "big")
        if len(self._received) < max(size, _LENGTH):
            return
        frame = bytes(self._received[_LENGTH:size])
        del self._received[:size]
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(frame)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: D102
        self._ended = ConnectionError(str(error or "it has closed its end"))
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(self._ended)

    @staticmethod
    def _give_up(answer: asyncio.Future[bytes]) -> None:
        if not answer.done():
            answer.set_exception(TimeoutError())
