"""Bodies that are large, slow, in pieces or never finished: what they take of the server, and for how long."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from tests.image_roots import make_root
from tests.processes import wait_until

from .conftest import FACTS, Running, Start, resident

BODY = json.dumps([{"a": 1, "b": 2.0, "word": "x"}]).encode()


def begin(running: Running, header: str, body: bytes) -> socket.socket:
    connection = running.connect()
    connection.sendall(f"POST /predict HTTP/1.1\r\nhost: x\r\n{header}\r\n\r\n".encode() + body)
    return connection


def test_a_body_in_single_bytes_takes_no_more_than_its_size(start: Start, tmp_path: Path) -> None:
    running = start(make_root(tmp_path / "root"))
    before = resident(running)
    with begin(running, "transfer-encoding: chunked", b"1\r\n \r\n" * 2_000_000) as connection:
        assert running.get("/healthz").status == 200
        assert resident(running) - before < 8
        connection.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY))
        assert connection.recv(100).startswith(b"HTTP/1.1 200")


def test_all_bodies_together_have_a_limit(start: Start, tmp_path: Path) -> None:
    running = start(make_root(tmp_path / "root"), environment={**FACTS, "MODELYARD_MOST_BODY_BYTES": "1000000"})
    waiting = [begin(running, "content-length: 1000000", b" " * 990_000) for _ in range(8)]
    try:
        wait_until(lambda: running.post("/predict", BODY + b" " * 80_000).status == 503, "the limit is reached")
        refused = running.post("/predict", BODY + b" " * 80_000)
        assert refused.headers["retry-after"] == "1"
        assert "8000000 bytes of requests are on their way" in refused.json["error"]
        assert running.post("/predict", BODY).status == 200, "there is room for it"
        waiting.pop().close()
        wait_until(lambda: running.post("/predict", BODY + b" " * 80_000).status == 200, "there is room again")
        last = waiting.pop()
        last.sendall(b" " * (10_000 - len(BODY)) + BODY)
        assert last.recv(100).startswith(b"HTTP/1.1 200")
        last.close()
    finally:
        for connection in waiting:
            connection.close()
    # Whatever became of them, none is counted any more: as much as before fits in.
    for body in (b"{", b" " * 999_000 + b"1", BODY + b" " * 900_000):
        for _ in range(20):
            assert running.post("/predict", body).status in (200, 400)
    for _ in range(20):
        begin(running, "transfer-encoding: chunked", b"f4240\r\n%s\r\n1\r\n \r\n" % (b" " * 1_000_000)).close()
        begin(running, "content-length: 900000", b" " * 900_000 + b"no request").close()
    waiting = [begin(running, "content-length: 1000000", b" " * 990_000) for _ in range(8)]
    try:
        assert running.post("/predict", BODY).status == 200
    finally:
        for connection in waiting:
            connection.close()
