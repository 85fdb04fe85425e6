"""Messages over a local socket: a 4-byte big-endian length, then that many bytes of JSON; a file may ride along.

A file is passed as an open descriptor, never as a path: the receiver reads what the sender could open, nothing more.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import Any

Message = dict[str, Any]

_LENGTH = struct.Struct(">I")
_LIMIT = 256 * 1024 * 1024


class FrameError(OSError):
    """What arrived is no message: it ends in the middle, or is longer than any message may be."""


def packed(message: Message) -> bytes:
    """Return one message as it is sent.

    Raises:
        TypeError, ValueError, RecursionError: it holds what JSON has not; FrameError: it is too long.
    """
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > _LIMIT:
        raise FrameError(f"a message of {len(body)} bytes is too long: keep large values in a file")
    return _LENGTH.pack(len(body)) + body


def send(connection: socket.socket, message: Message, file: int | None = None) -> None:
    """Send one message, and the open file with it if one is given."""
    data = packed(message)
    if file is not None:
        data = data[socket.send_fds(connection, [data[: _LENGTH.size]], [file]) :]
    connection.sendall(data)


def receive(connection: socket.socket) -> Message | None:
    """Return the next message, None when the other side has ended; the kernel closes a file that comes with it."""
    return _message(connection, connection.recv(_LENGTH.size))


def receive_with_file(connection: socket.socket) -> tuple[Message | None, int | None]:
    """Return the next message (None at the end) and the open file that came with it; the caller closes that."""
    header, files, _, _ = socket.recv_fds(connection, _LENGTH.size, 1)
    file = files[0] if files else None
    try:
        return _message(connection, header), file
    except BaseException:
        if file is not None:
            os.close(file)
        raise


def _message(connection: socket.socket, header: bytes) -> Message | None:
    """Return the message of which the header, or its beginning, has been read."""
    if not header:
        return None
    (length,) = _LENGTH.unpack(header + _exactly(connection, _LENGTH.size - len(header)))
    if length > _LIMIT:
        raise FrameError(f"a message of {length} bytes is announced: too long")
    message = json.loads(_exactly(connection, length))
    if not isinstance(message, dict):
        raise FrameError("a message is not a JSON object")
    return message


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        # Nearly always all at once; a signal or a timeout of the socket cuts it short.
        more = connection.recv(size - len(data), socket.MSG_WAITALL)
        if not more:
            raise FrameError("the other side ended in the middle of a message")
        data += more
    return data
