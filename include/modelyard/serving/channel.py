"""Frames of a 4-byte length and that many bytes over a socket pair, one asked and one answered at a time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

_LENGTH = 4

Then = Callable[[bytes | Exception], None]


class Channel(asyncio.Protocol):
    """One end. A stream reader's queues and wake-ups would take longer than the kernel takes to pass a frame on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._then: Then | None = None
        self._limit: asyncio.TimerHandle | None = None
        self._ended: ConnectionError | None = None

    @classmethod
    async def over(cls, connection: socket.socket) -> Channel:
        """Return the end that ``connection`` is; it is closed with it."""
        connection.setblocking(False)
        _, channel = await asyncio.get_running_loop().create_connection(cls, sock=connection)
        return channel

    def ask(self, frame: bytes, seconds: float | None, then: Then) -> None:
        """Send a frame; ``then`` is called with the one that comes back, as soon as it is there, or with an error.

        Not awaited: each turn of the loop in between would keep the other end waiting for its next frame.

        Args:
            frame: without its length.
            seconds: to wait; None for as long as it takes.
            then: gets TimeoutError when none has come so soon, ConnectionError when the other end is gone.
        """
        self._then = then
        if self._ended is not None:
            self._answer(self._ended)
            return
        if seconds is not None:
            self._limit = self._loop.call_later(seconds, self._answer, TimeoutError())
        self._transport.write(len(frame).to_bytes(_LENGTH, "big") + frame)

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
        self._answer(frame)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: D102
        self._ended = ConnectionError(str(error or "it has closed its end"))
        self._answer(self._ended)

    def _answer(self, told: bytes | Exception) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
        then, self._then = self._then, None
        if then is not None:
            then(told)
