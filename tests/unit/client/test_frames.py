from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.client import frames

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_messages_arrive_in_order_and_the_end_is_none(pair: Pair):
    for number in range(3):
        frames.send(pair[0], {"number": number, "text": "größer"})
    pair[0].close()
    assert [frames.receive(pair[1]) for _ in range(3)] == [{"number": n, "text": "größer"} for n in range(3)]
    assert frames.receive(pair[1]) is None


def test_a_file_rides_along_open(pair: Pair, tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with path.open("rb") as file:
        frames.send(pair[0], {"event": "put"}, file.fileno())
    path.unlink()
    message, file_received = frames.receive_with_file(pair[1])
    assert message == {"event": "put"}
    assert file_received is not None
    with os.fdopen(file_received, "rb") as copy:
        assert copy.read() == b"content"


def test_a_message_cut_short_is_an_error(pair: Pair):
    pair[0].sendall(struct.pack(">I", 10) + b"{}")
    pair[0].close()
    with pytest.raises(frames.FrameError, match="in the middle"):
        frames.receive(pair[1])


def test_a_length_beyond_reason_is_an_error(pair: Pair):
    pair[0].sendall(struct.pack(">I", 2**32 - 1))
    with pytest.raises(frames.FrameError, match="too long"):
        frames.receive(pair[1])


def test_a_file_nobody_asked_for_is_closed(pair: Pair, tmp_path: Path):
    (tmp_path / "file").touch()
    opened = len(list(Path("/proc/self/fd").iterdir()))
    with (tmp_path / "file").open("rb") as file:
        frames.send(pair[0], {"event": "heartbeat"}, file.fileno())
    assert frames.receive(pair[1]) == {"event": "heartbeat"}
    assert len(list(Path("/proc/self/fd").iterdir())) == opened
