"""HTTP/1.1 byte by byte: what clients may do, and what nobody should."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from tests.image_roots import make_root

from .conftest import BODY, FACTS, Running, Start, exchange, post, read_all


def test_pipelined_requests_are_answered_in_order(server: Running) -> None:
    requests = b"".join(post(f"x-request-id: n{number}") for number in range(50))
    answers = exchange(server, requests)
    ids = [line.split(b": ")[1] for line in answers.split(b"\r\n") if line.startswith(b"x-request-id")]
    assert ids == [f"n{number}".encode() for number in range(50)]
    assert answers.count(b"HTTP/1.1 200 OK") == 50
    assert answers.count(b"connection: close") == 1  # the last: we had ended our side


def test_a_request_in_single_bytes(server: Running) -> None:
    with server.connect() as connection:
        for byte in post("connection: close"):
            connection.sendall(bytes([byte]))
        assert read_all(connection).startswith(b"HTTP/1.1 200")


def test_who_asks_once_by_way_of_a_proxy_leaves_no_connection_behind(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(post("connection: keep-alive", "modelyard-connection: close"))
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer


def test_chunks(server: Running) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:5], BODY[5:])) + b"0\r\n\r\n"
    assert exchange(server, post("transfer-encoding: chunked", body=chunks)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "trailers",
    [
        "host: y\r\nhost: z\r\n",
        "content-type: text/csv\r\nx-request-id: other\r\nmodelyard-connection: close\r\n",
        "connection: upgrade\r\nupgrade: h2c\r\nexpect: 100-continue\r\n",
    ],
)
def test_trailers_change_nothing(server: Running, trailers: str) -> None:
    """Those of framing, which no sender may put there (RFC 9110, 6.5.1), are refused by the parser."""
    chunks = b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(BODY), BODY, trailers.encode())
    answers = exchange(server, post("transfer-encoding: chunked", "x-request-id: mine", body=chunks) + post())
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert b"x-request-id: mine" in answers
    framing = b"%x\r\n%s\r\n0\r\ncontent-length: 7\r\n\r\n" % (len(BODY), BODY)
    assert b"HTTP/1.1 400" in exchange(server, post("transfer-encoding: chunked", body=framing))


def test_a_client_that_asks_before_it_sends(server: Running) -> None:
    with server.connect() as connection:
        head, _, body = post("expect: 100-continue", "connection: close").partition(b"\r\n\r\n")
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_all(connection).startswith(b"HTTP/1.1 200")


def test_http_1_0_ends_the_connection_unless_asked(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert b"connection: close" in read_all(connection)
    with server.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
        assert b"connection: keep-alive" in connection.recv(65536)


def test_head_has_the_length_and_no_body(server: Running) -> None:
    answer = exchange(server, b"HEAD /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    assert b"content-length: 13" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_another_protocol_is_declined(server: Running) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    offer = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    answer = exchange(server, offer + preface)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1 400") == 1


def test_who_offers_another_protocol_is_answered_in_this_one(server: Running) -> None:
    offer = ("connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAABk")
    whole = post(*offer, "x-request-id: one") + post(*offer, "x-request-id: two") + post("connection: close")
    answers = exchange(server, whole)
    assert answers.count(b"HTTP/1.1 200 OK") == 3
    assert answers.index(b"x-request-id: one") < answers.index(b"x-request-id: two")
    with server.connect() as connection:  # however it comes
        for byte in post(*offer, "transfer-encoding: chunked", body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)):
            connection.sendall(bytes([byte]))
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert exchange(server, post(*offer) * 2000).count(b"HTTP/1.1 200 OK") == 2000
    assert b"HTTP/1.1 431" in exchange(server, post(*offer, f"x: {'x' * 70000}"))
    assert exchange(server, b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\nGET").startswith(b"HTTP/1.1 404")


def test_curl_offers_http_2(server: Running) -> None:
    address = f"http://127.0.0.1:{server.port}/predict"
    command = ["curl", "--silent", "--show-error", "--max-time", "20", "--write-out", " %{http_version}"]
    answer = subprocess.run([*command, "--http2", "--data", BODY.decode(), address], capture_output=True, check=True)
    assert json.loads(answer.stdout.removesuffix(b" 1.1"))["predictions"][0]["prediction"] == 3.0


@pytest.mark.parametrize("given", ["", "a" * 200, "zwölf", "a\tb"])
def test_a_request_id_that_is_none_is_replaced(server: Running, given: str) -> None:
    answer = exchange(server, post().replace(b"host: x", f"host: x\r\nx-request-id: {given}".encode()))
    assert b"HTTP/1.1 200" in answer
    assert given == "" or f"x-request-id: {given}\r\n".encode() not in answer


def test_what_is_too_large_is_refused_before_it_is_read(server: Running) -> None:
    large = 16 * 1024 * 1024 + 1
    with server.connect() as connection:
        connection.sendall(post(body=b"").replace(b"content-length: 0", f"content-length: {large}".encode()))
        assert b"413" in connection.recv(100)
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    assert b"HTTP/1.1 413" in exchange(server, post("transfer-encoding: chunked", body=chunk * 18))
    assert b"HTTP/1.1 431" in exchange(server, post(*(f"h{number}: {'x' * 1000}" for number in range(70))))


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"NOTHING\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        post("content-length: 5"),
        post("content-length: -1"),
        post("transfer-encoding: chunked", body=b"zz\r\n"),
    ],
)
def test_what_is_no_request_gets_400_and_the_connection_ends(server: Running, data: bytes) -> None:
    answer = exchange(server, data)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"connection: close" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"].startswith("this is no HTTP/1.1 request")


def test_random_bytes_do_no_harm(server: Running) -> None:
    chance = random.Random(20)
    for _ in range(200):
        data = bytearray(post(path=chance.choice(["/predict", "/v2/models/sum/infer", "/invocations"])))
        for _ in range(chance.randrange(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        assert b"HTTP/1.1 5" not in exchange(server, bytes(data))
    body = bytearray(BODY)
    for _ in range(300):
        body[chance.randrange(len(body))] = chance.randrange(32, 127)
        assert server.post("/predict", bytes(body)).status in (200, 400, 422)
    assert server.post("/predict", BODY).status == 200
    assert "Traceback" not in server.log.read_text()


def test_a_client_that_leaves_costs_nothing(server: Running) -> None:
    for _ in range(20):
        with server.connect() as connection:
            connection.sendall(post(body=json.dumps([{"a": 1, "b": 0.01, "word": "sleep"}]).encode()))
    with server.connect() as connection:
        connection.sendall(post()[:-5])
    assert server.post("/predict", BODY).status == 200


def test_sigterm_answers_what_was_asked(start: Start, tmp_path: Path) -> None:
    running = start(make_root(tmp_path / "root"))
    answers: list[int] = []
    slow = threading.Thread(
        target=lambda: answers.append(running.post("/predict", [{"a": 1, "b": 1.0, "word": "sleep"}]).status)
    )
    slow.start()
    while b"modelyard_requests_in_flight 2" not in running.get("/metrics").body:
        time.sleep(0.01)
    with running.connect() as idle:
        time.sleep(0.05)
        running.process.send_signal(signal.SIGTERM)
        slow.join(10)
        assert answers == [200]
        assert running.process.poll() is None  # the idle one may still ask
        idle.sendall(post())
        answer = read_all(idle)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer
    assert running.process.wait(10) == 0


def test_sigterm_answers_all_that_was_sent_ahead(start: Start, tmp_path: Path) -> None:
    running = start(make_root(tmp_path / "root"))
    slow = json.dumps([{"a": 1, "b": 0.5, "word": "sleep"}]).encode()
    with running.connect() as connection:
        connection.sendall(post(body=slow) + post() + post())
        while b"modelyard_requests_in_flight 2" not in running.get("/metrics").body:
            time.sleep(0.01)
        running.process.send_signal(signal.SIGTERM)
        answers = read_all(connection)
        assert answers.count(b"HTTP/1.1 200 OK") == 3
        assert answers.count(b"connection: close") == 1
    assert running.process.wait(10) == 0


def test_with_a_socket_of_its_own_it_goes_on_accepting_for_a_while(
    start: Start, tmp_path: Path, free_port: int
) -> None:
    running = start(make_root(tmp_path / "root"), "--port", str(free_port))
    running.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    answer = running.post("/predict", BODY)
    assert answer.status == 200
    assert answer.headers["connection"] == "close"
    assert running.process.wait(20) == 0


def test_beside_a_step_it_ends_at_once(start: Start, tmp_path: Path, free_port: int) -> None:
    environment = FACTS | {"MODELYARD_LEARNING_SECONDS": "0"}
    running = start(make_root(tmp_path / "root"), "--port", str(free_port), environment=environment)
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(2) == 0
