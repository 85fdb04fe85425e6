"""Talking to a supervisor: a JSON line as the question, JSON lines as the answer, over a Unix socket in its folder."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from modelyard.deployment.target import JSON

SOCKET = "supervisor.sock"


def connect(folder: Path, name: str) -> socket.socket:
    """Connect to the Unix socket ``folder/name``; raises OSError when nobody is there.

    The kernel takes only 107 bytes of path, and a home folder may be deeper: so by way of the folder's descriptor.
    """
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(f"/proc/self/fd/{descriptor}/{name}")
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(descriptor)
    return connection


def ask(folder: Path, question: JSON, timeout: float) -> Iterator[JSON]:
    """Put a question to a folder's supervisor and yield the lines of its answer; OSError when nobody is there."""
    with connect(folder, SOCKET) as connection:
        connection.settimeout(timeout)
        with connection.makefile("rwb") as stream:
            stream.write(json.dumps(question).encode() + b"\n")
            stream.flush()
            for line in stream:
                yield json.loads(line)
