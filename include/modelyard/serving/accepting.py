"""Processes that accept on one socket: whoever has the fewest connections takes the next one.

The kernel wakes all of them and gives the connection to the quickest, which is the idlest at that moment only: a burst
of clients that keep their connections would stay with whom it met. So one that has more than another lets the others
go first, for a moment: should they be busy, it takes the connection all the same.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from modelyard.serving.board import Board

_COURTESY = 0.004  # seconds until one with more connections looks again whether one with fewer has come
_PATIENCE = 0.1  # seconds that it does so, and then as many without: a process that hangs must not hold up all clients


class Accepting:
    """Takes connections from ``listening`` and hands each to ``connect``, from its making until ``close``."""

    def __init__(self, listening: socket.socket, connect: Callable[[socket.socket], None], board: Board) -> None:
        self._listening = listening
        self._connect = connect
        self._board = board
        self._loop = asyncio.get_running_loop()
        self._later: asyncio.TimerHandle | None = None
        self._insists_until = 0.0
        self._courteous_since = self._courteous_at = 0.0
        listening.setblocking(False)
        self._watch()

    def close(self) -> None:
        """Take no more; the socket stays open for the others."""
        self._loop.remove_reader(self._listening)
        if self._later is not None:
            self._later.cancel()

    def _watch(self) -> None:
        self._later = None
        self._loop.add_reader(self._listening, self._readable)

    def _readable(self) -> None:
        if self._lets_others_go_first(self._loop.time()):
            self._loop.remove_reader(self._listening)
            self._later = self._loop.call_later(_COURTESY, self._watch)
            return
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another process was quicker, or the client has gone
        except OSError:
            # No descriptor left: the connection waits for one instead of keeping this process busy.
            self._loop.remove_reader(self._listening)
            self._later = self._loop.call_later(0.1, self._watch)
            return
        self._connect(connection)

    def _lets_others_go_first(self, now: float) -> bool:
        if self._board.connections <= self._board.fewest or now < self._insists_until:
            return False
        if now - self._courteous_at > 4 * _COURTESY:
            self._courteous_since = now  # the last time it was another connection, and somebody has come
        self._courteous_at = now
        if now - self._courteous_since < _PATIENCE:
            return True
        self._insists_until = now + _PATIENCE
        return False
