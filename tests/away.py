"""Servers of this machine that are away for a while: stopped as they are, so that nobody is refused or answered."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import psutil


@contextmanager
def away(ports: Iterable[int]) -> Iterator[None]:
    """Stop all that listens at these ports, and let it go on afterwards as if nothing had been."""
    wanted = set(ports)
    listening = [one for one in psutil.net_connections("inet") if one.status == psutil.CONN_LISTEN and one.laddr]
    found = [(port, one.pid) for one in listening if (port := tuple(one.laddr)[1]) in wanted]
    assert {port for port, _ in found} == wanted, "a server is not on this machine"
    stopped = {pid for _, pid in found if pid and pid != os.getpid()}
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
