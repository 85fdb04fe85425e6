"""Accepting connections, and ending without a failed request."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Coroutine
from email.utils import formatdate
from itertools import count

from modelyard.serving.accepting import Accepting
from modelyard.serving.application import Application
from modelyard.serving.board import Board
from modelyard.serving.connection import Connection

BACKLOG = 1024  # connections that wait to be taken
_IDLE = 620.0  # seconds a connection may rest; load balancers keep theirs up to 600 and must be the first to let go
_IDLE_DRAINING = 15.0  # the same while draining, so that a client's next request still finds an answer
_REST = 30.0  # seconds in which a request that has begun to arrive must go on, and end unless it is large:
_LEAST_RATE = 10_000  # bytes that it must bring for every second more
_CLIENT = 60.0  # seconds for a client to read what it asked for


class Server:
    """All connections of this process.

    Args:
        headers: what every answer carries.
        board: shared with the other processes of this server.

    Attributes:
        headers: the same as bytes, with the date.
        held_bytes: of the bodies of requests that are not answered yet, as its connections count them.
    """

    def __init__(self, application: Application, headers: tuple[tuple[str, str], ...], board: Board) -> None:
        self.application = application
        self.held_bytes = 0
        self._board = board
        self._id, self._numbers = secrets.token_hex(4), count(1)  # not at import: processes are forked later
        self._connections: set[Connection] = set()
        self._none_open = asyncio.Event()
        self._none_open.set()
        self._draining_since: float | None = None
        self._fixed = "".join(f"{name}: {value}\r\n" for name, value in headers).encode("latin-1")
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()  # kept: to ask for it takes a system call before Python 3.12
        self._sweeper = self._loop.create_task(self._sweep())
        # Kept although nobody asks for them again: a server that is garbage is closed.
        self._accepting: asyncio.Server | Accepting | None = None
        self._controlled: asyncio.Server | None = None
        self._set_date()

    @property
    def draining(self) -> bool:
        """Every further answer ends its connection."""
        return self._draining_since is not None

    async def accept(self, listening: socket.socket) -> None:
        """Take connections from ``listening`` from now on; it stays the caller's."""
        if self._accepting is not None:
            return
        self._board.taking(True)
        if self._board.processes > 1:
            self._accepting = Accepting(listening, lambda connection: self.run(self._connect(connection)), self._board)
        else:
            loop = asyncio.get_running_loop()
            self._accepting = await loop.create_server(
                lambda: Connection(self, private=False), sock=listening.dup(), backlog=BACKLOG
            )

    async def pause(self) -> None:
        """Take no new connections; what comes waits in the socket's queue for whoever accepts next."""
        if self._accepting is not None:
            self._accepting.close()
            self._accepting = None
        self._board.taking(False)

    async def follow(self, listening: socket.socket) -> None:
        """Take connections, or none, as the board says that all processes shall."""
        if not self.draining:
            await (self.accept(listening) if self._board.wanted else self.pause())

    async def control(self, listening: socket.socket) -> None:
        """Answer at a Unix socket as well, with the private routes."""
        loop = asyncio.get_running_loop()
        self._controlled = await loop.create_unix_server(lambda: Connection(self, private=True), sock=listening)

    async def drain(self, *, accepting_for: float) -> None:
        """End every connection at a moment when its client expects it, and return when there are none.

        Args:
            accepting_for: seconds to go on taking new connections. Zero when another process has the same socket; more
                when load balancers must first learn that this one goes.
        """
        self._draining_since = time.monotonic()
        await asyncio.sleep(accepting_for)
        await self.pause()
        # Twice, since a connection that was just accepted is not in the set before the loop's next turn.
        for _ in range(2):
            await asyncio.sleep(0.05)
            await self._none_open.wait()
        self._sweeper.cancel()

    def new_id(self) -> str:
        """Return an id for a request that has none: no other process has the same."""
        return f"{self._id}-{next(self._numbers):x}"

    def opened(self, connection: Connection) -> None:
        """Look after a connection from now on."""
        self._connections.add(connection)
        self._board.connected(1)
        self._none_open.clear()

    def closed(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self._connections.discard(connection)
        self._board.connected(-1)
        if not self._connections:
            self._none_open.set()

    async def _connect(self, connection: socket.socket) -> None:
        self._board.connected(1)  # at once: the other processes look at it before this one has come to open it
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(lambda: Connection(self, private=False), connection)
        except OSError:
            connection.close()  # the client has gone already
        finally:
            self._board.connected(-1)

    def run(self, answer: Coroutine[None, None, None]) -> None:
        """Run one answer; keeps the task alive."""
        task = self._loop.create_task(answer)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _sweep(self) -> None:
        """Once a second, end connections that wait too long: one timer for all is cheaper than one for each request."""
        while True:
            await asyncio.sleep(1)
            self._set_date()
            limits = {"request": _IDLE_DRAINING if self.draining else _IDLE, "client": _CLIENT}
            for connection in list(self._connections):
                state = connection.waits_for
                if state == "rest":
                    connection.refuse_slow(_REST, _LEAST_RATE)
                # Who has rested for long may be about to ask again: it gets the whole time from the drain's start.
                since = max(connection.since, self._draining_since or 0)
                if time.monotonic() - since > limits.get(state, float("inf")):
                    connection.close()

    def _set_date(self) -> None:
        self.headers = self._fixed + f"date: {formatdate(usegmt=True)}\r\n".encode()
