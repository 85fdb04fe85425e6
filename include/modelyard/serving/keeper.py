"""The first process of a server: it holds the sockets, and starts again those of its processes that are killed.

A connection that comes meanwhile is taken by another process, or waits in the socket's queue, so that a crash fails no
request but those that its process was answering. A server of one process whose socket somebody else holds has no
keeper but that one.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable

from modelyard.serving.board import CHANGED, Board

# One that is killed sooner would be killed again. When no other is left, that ends the container, and whoever runs it
# sees why; until then it is tried again once a second.
_YOUNG = 10.0
_PAUSE = 1.0
_WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_PR_SET_PDEATHSIG = 1

Serve = Callable[[int, bool], int]
Say = Callable[[str], None]


def keep(serve: Serve, say: Say, board: Board) -> int:
    """Run ``serve`` in as many children as the board has processes, until they end by themselves; return the exit code.

    One that ends by itself before it was told to, as it can't load the model, ends the others too.

    Args:
        serve: gets the process's number and whether one before it was killed; returns the exit code. No thread and no
            loop may run yet.
        say: one line for the log.
        board: what the children share.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    signal.signal(CHANGED, signal.SIG_IGN)  # until a child can follow
    return _Keeper(serve, say, board).run()


class _Keeper:
    def __init__(self, serve: Serve, say: Say, board: Board) -> None:
        self._serve = serve
        self._say = say
        self._board = board
        self._running: dict[int, tuple[int, float]] = {}  # by pid: number, and when it was started
        self._due: dict[int, float] = {}  # by number: when it is to be started again
        self._ending = 0  # the signal that they were told to end by
        self._code = 0

    def run(self) -> int:
        for number in range(self._board.processes):
            self._start(number, again=False)
        while self._running or self._due:
            wait = max(0.0, min(self._due.values()) - time.monotonic()) if self._due else 3600.0
            told = signal.sigtimedwait(_WATCHED, wait)
            if told is not None and told.si_signo != signal.SIGCHLD:
                self._end(told.si_signo)
            # All that has ended: the first process of a container inherits what others have left.
            while (ended := _ended()) is not None:
                pid, status = ended
                if pid in self._running:
                    self._take_note(pid, os.waitstatus_to_exitcode(status))
            for number in [number for number, when in self._due.items() if when <= time.monotonic()]:
                del self._due[number]
                self._board.restarted()
                self._start(number, again=True)
        return self._code

    def _take_note(self, pid: int, code: int) -> None:
        number, began = self._running.pop(pid)
        self._board.gone(number)
        young = time.monotonic() - began < _YOUNG
        if code >= 0 or self._ending or (young and not self._running):
            if code < 0 and -code == self._ending:
                code = 0  # it was told before it had begun
            self._code = self._code or (code if code >= 0 else 128 - code)
            if not self._ending:
                self._end(signal.SIGTERM)
            return
        what = "the server" if self._board.processes == 1 else f"process {number} of the server"
        self._say(f"{what} was ended by signal {-code}; starting it again")
        self._due[number] = time.monotonic() + (_PAUSE if young else 0.0)

    def _end(self, number: int) -> None:
        self._ending = number
        self._due.clear()
        for pid in self._running:
            os.kill(pid, number)

    def _start(self, number: int, *, again: bool) -> None:
        keeper = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            self._running[pid] = (number, time.monotonic())
            return
        code = 1
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() == keeper:
                self._board.become(number)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
                code = self._serve(number, again)
        except BaseException:  # noqa: BLE001 - the last stop of this process, as the interpreter's own would be
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _ended() -> tuple[int, int] | None:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None
