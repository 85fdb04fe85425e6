"""The server by its own OpenAPI document, as Schemathesis reads it, and random bytes on every route: never a 5xx."""

from __future__ import annotations

import http.client
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance
from tests.image_roots import make_root
from tests.processes import wait_until

from .conftest import FACTS, Running, Start, resident

_NOT_IN_IT = ["/v2/health/live", "/v2/health/ready", "/ping", "/health", "/version", "/v1/models", "/", "/docs", "/x"]


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_what_the_document_allows_and_what_it_does_not(server: Running, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")
    checks = [not_a_server_error, response_schema_conformance, content_type_conformance]
    asked: Counter[str] = Counter()
    for found in schema.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]
        if operation.body or mode is GenerationMode.POSITIVE:  # what takes nothing can't be asked wrongly

            @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                case.call_and_validate(checks=checks)
                asked[case.path] += 1

            ask()
    assert len(asked) == (14 if mode is GenerationMode.POSITIVE else 6), asked
    assert sum(count >= 20 for count in asked.values()) >= 6, asked
    assert "Traceback" not in server.log.read_text()


def test_random_bytes_on_every_route(server: Running) -> None:
    chance = random.Random(6)
    paths = [*server.get("/openapi.json").json["paths"], *_NOT_IN_IT]
    kinds = ["application/json", "text/csv", "application/octet-stream", "application/json; charset=utf-16", "\x01", ""]
    golden = server.get("/openapi.json").body
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for path in paths:
        for _ in range(30):
            body = bytearray(golden[: chance.randrange(400)]) if chance.random() < 0.3 else bytearray()
            body += chance.randbytes(chance.choice([0, 1, 7, 200, 5000]))
            headers = {"content-type": chance.choice(kinds)}
            if chance.random() < 0.2:
                headers["inference-header-content-length"] = str(chance.choice([-1, 0, 3, 10**30, len(body)]))
            method = chance.choice(["GET", "POST", "POST", "PUT", "HEAD", "DELETE", "OPTIONS"])
            connection.request(method, path, bytes(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status < 500, (method, path, bytes(body), headers, text)
            assert b"Traceback" not in text
    connection.close()
    assert server.get("/readyz").status == 200
    assert "Traceback" not in server.log.read_text()


@pytest.mark.slow
def test_memory_does_not_grow(start: Start, tmp_path: Path) -> None:
    """100,000 requests, good and bad ones, many on one connection: what is kept of them is what metrics count."""
    running = start(make_root(tmp_path / "root"), environment=FACTS)
    good = b'[{"a": 1, "b": 2.0, "word": "x"}]'
    requests = [
        (b"/healthz", b"GET", b""),
        (b"/predict", b"POST", b"[]"),
        (b"/predict", b"POST", b'[{"a": "wrong", "b": 2.0, "word": "x"}]'),
        (b"/v2/models/sum/infer", b"POST", b'{"inputs": [{"name": 1}]}'),
        (b"/nothing/%d", b"GET", b""),
        (b"/predict", b"PUT", b"\xff\xfe"),
    ]

    def ask(number: int) -> None:
        """Send a thousand at once, and read all answers."""
        parts = []
        for each in range(1000):
            path, method, body = requests[each % len(requests)] if each % 10 else (b"/predict", b"POST", good)
            if b"%d" in path:
                path = path % (number * 1000 + each)
            length = b"content-length: %d\r\nx-request-id: %d-%d\r\n" % (len(body), number, each)
            parts.append(b"%s %s HTTP/1.1\r\nhost: x\r\n%s\r\n%s" % (method, path, length, body))
        parts.append(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-request-id: last\r\nconnection: close\r\n\r\n")
        with running.connect() as connection:
            connection.settimeout(120)
            for begin in range(0, len(parts), 50):
                sent = parts[begin : begin + 50]
                connection.sendall(b"".join(sent))
                answers = b""
                while answers.count(b"HTTP/1.1 ") < len(sent):
                    data = connection.recv(1 << 20)
                    assert data, answers
                    answers += data
                assert b"HTTP/1.1 5" not in answers

    for number in range(10):
        ask(number)
    before = resident(running)
    for _ in range(10):
        with running.connect() as connection:  # and leave in the middle of an upload
            connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 16000000\r\n\r\n")
            connection.sendall(b" " * 15_000_000)
    # The allocator keeps what one upload took, and a half more, for the next.
    wait_until(lambda: resident(running) - before < 32, "what abandoned uploads have brought is freed", 10)
    ask(10)
    before = resident(running)
    for number in range(11, 111):
        ask(number)
    grown = resident(running) - before
    print(f"resident after 11,000 requests: {before:.1f} MiB, after 111,000: {grown:+.2f} MiB")
    assert grown < 2
