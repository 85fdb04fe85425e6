"""The port of a local service: chosen once, then kept."""

from __future__ import annotations

import errno
import socket
import time
from pathlib import Path

from modelyard.deployment.state import read_state, service_folders

_FIRST, _LAST = 18000, 18999
# Seconds in which the servers of a killed supervisor let go of the port.
_LET_GO = 3.0


class NoPortError(Exception):
    """No port can be had; says why."""


def listen(home: Path, kept: int | None) -> socket.socket:
    """Return a listening socket on 127.0.0.1.

    Args:
        home: where the other services' ports are written down; those that do not run now keep theirs as well.
        kept: the service's port so far; when another program has it by now, a new one is chosen.

    Raises:
        NoPortError: all are taken.
    """
    if kept is not None and (listening := _try(kept, time.monotonic() + _LET_GO)):
        return listening
    reserved = {state.port for folder in service_folders(home) if (state := read_state(folder))}
    for port in range(_FIRST, _LAST + 1):
        if port not in reserved and (listening := _try(port)):
            return listening
    raise NoPortError(f"no port from {_FIRST} to {_LAST} is free")


def _try(port: int, until: float = 0) -> socket.socket | None:
    while True:
        try:
            return socket.create_server(("127.0.0.1", port), backlog=1024)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        if time.monotonic() >= until:
            return None
        time.sleep(0.05)
