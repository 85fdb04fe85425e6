"""Bodies that are large, slow, in pieces or never finished: what they take of the server, and for how long."""

from __future__ import annotations

import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.image_roots import make_root
from tests.processes import wait_until

from .conftest import BODY, FACTS, Running, Start, read_all, resident


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


def test_a_body_in_single_bytes_leaves_the_others_their_turns(start: Start, tmp_path: Path) -> None:
    running = start(make_root(tmp_path / "root"))
    began, slowest = time.monotonic(), 0.0
    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(begin, running, "transfer-encoding: chunked", b"1\r\n \r\n" * 5_000_000)
        while not upload.done():
            asked = time.monotonic()
            assert running.get("/healthz").status == 200
            slowest = max(slowest, time.monotonic() - asked)
    upload.result().close()
    print(f"{slowest:.2f} s of {time.monotonic() - began:.2f}")
    assert slowest < (time.monotonic() - began) / 5


def test_all_bodies_together_have_a_limit(start: Start, tmp_path: Path) -> None:
    running = start(make_root(tmp_path / "root"), environment={**FACTS, "MODELYARD_MOST_BODY_BYTES": "1000000"})
    # Whatever becomes of these, none is counted any more afterwards.
    for body in (b"{", b" " * 999_000 + b"1", BODY + b" " * 900_000):
        for _ in range(20):
            assert running.post("/predict", body).status in (200, 400)
    for _ in range(20):
        begin(running, "transfer-encoding: chunked", b"f4240\r\n%s\r\n1\r\n \r\n" % (b" " * 1_000_000)).close()
        begin(running, "content-length: 900000", b" " * 900_000 + b"no request").close()
    wait_until(lambda: b"modelyard_connections 1\n" in running.get("/metrics").body, "they are gone")
    with ExitStack() as stack:
        uploads = [
            stack.enter_context(begin(running, "content-length: 1000000", b" " * (1_000_000 - len(BODY))))
            for _ in range(9)
        ]
        refused, _, _ = select.select(uploads, [], [], 20)
        assert len(refused) == 1
        answer = read_all(refused[0])
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1" in answer
        assert b"8000000 bytes of requests are on their way" in answer
        assert running.post("/predict", BODY).status == 200, "there is room for it"
        uploads.remove(refused[0])
        for upload in uploads:
            upload.sendall(BODY)
            assert upload.recv(100).startswith(b"HTTP/1.1 200")
