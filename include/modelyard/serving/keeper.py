"""The first process of a container: it holds the listening socket, and starts the server again when that is killed.

A connection that comes meanwhile waits in the socket's queue, so that a crash fails no request but those that the
server was answering. Where somebody else holds the socket, that one is the keeper.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable

# One that is killed sooner would be killed again: the container ends, and whoever runs it sees why.
_YOUNG = 10.0
_WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_PR_SET_PDEATHSIG = 1


def keep(serve: Callable[[bool], int], say: Callable[[str], None]) -> int:
    """Run ``serve`` in a child until it ends by itself, and return the exit code.

    Args:
        serve: gets whether one before it was killed; returns the exit code. No thread and no loop may run yet.
        say: one line for the log.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    again = False
    while True:
        began = time.monotonic()
        code, told_to_end = _wait(_start(serve, again=again))
        if code >= 0:
            return code
        if told_to_end or time.monotonic() - began < _YOUNG:
            return 128 - code
        say(f"the server was ended by signal {-code}; starting it again")
        again = True


def _start(serve: Callable[[bool], int], *, again: bool) -> int:
    keeper = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() == keeper:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
                code = serve(again)
        except BaseException:  # noqa: BLE001 - the last stop of this process, as the interpreter's own would be
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return pid


def _wait(server: int) -> tuple[int, bool]:
    """Return how the server ended, as ``os.waitstatus_to_exitcode`` has it, and whether it was told to."""
    told_to_end = False
    while True:
        number = signal.sigwait(_WATCHED)
        if number != signal.SIGCHLD:
            told_to_end = True
            os.kill(server, number)
        # All that has ended: the first process of a container inherits what others have left.
        while (ended := _ended()) is not None:
            pid, status = ended
            if pid == server:
                return os.waitstatus_to_exitcode(status), told_to_end


def _ended() -> tuple[int, int] | None:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None
