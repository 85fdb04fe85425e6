"""What RFC 9110 and 9112 ask of every server, by section."""

from __future__ import annotations

import time

import pytest

from .conftest import BODY, Running, exchange, post, read_all

SLOW = b'[{"a": 1, "b": 0.5, "word": "sleep"}]'


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://x/healthz", 200),
        ("HTTP://x:8080/healthz", 200),
        ("https://x/healthz?a=b", 200),
        ("http://x", 200),
        ("http://x?a=/nothing", 200),
        ("http://x/http://x/healthz", 404),
        ("ftp://x/healthz", 404),
    ],
)
def test_a_whole_address_is_one_too(server: Running, address: str, expected: int) -> None:
    """RFC 9112, 3.2.2."""
    assert status(exchange(server, f"GET {address} HTTP/1.1\r\nhost: x\r\n\r\n".encode())) == expected


@pytest.mark.parametrize(
    ("version", "hosts", "expected"),
    [
        ("1.1", ["x"], 200),
        ("1.1", [""], 200),
        ("1.1", [], 400),
        ("1.1", ["x", "x"], 400),
        ("1.1", ["x", "y"], 400),
        ("1.0", [], 200),
    ],
)
def test_one_host(server: Running, version: str, hosts: list[str], expected: int) -> None:
    """RFC 9112, 3.2."""
    head = f"GET /healthz HTTP/{version}\r\n" + "".join(f"Host: {host}\r\n" for host in hosts)
    answer = exchange(server, f"{head}\r\n".encode())
    assert status(answer) == expected
    assert expected == 200 or b"Host header" in answer


def test_trailers_are_no_headers(server: Running) -> None:
    """RFC 9110, 6.5.1; they count as much as headers do."""
    chunks = b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)
    trailed = chunks + b"X-Request-Id: trailer\r\nContent-Type: text/csv\r\nHost: y\r\n\r\n"
    answers = exchange(server, post("transfer-encoding: chunked", "x-request-id: header", body=trailed) + post())
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert b"x-request-id: header" in answers
    assert b"trailer" not in answers
    large = chunks + b"".join(b"x%d: %s\r\n" % (number, b"x" * 1000) for number in range(70)) + b"\r\n"
    assert status(exchange(server, post("transfer-encoding: chunked", body=large))) == 431


@pytest.mark.parametrize("codings", [["gzip, chunked"], ["gzip", "chunked"]])
def test_a_coding_that_is_not_known(server: Running, codings: list[str]) -> None:
    """RFC 9112, 6.1."""
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    answer = exchange(server, post(*(f"Transfer-Encoding: {coding}" for coding in codings), body=chunks))
    assert status(answer) == 501
    assert b"only chunked is taken" in answer


def test_http_1_0_is_told_nothing_in_between(server: Running) -> None:
    """RFC 9110, 10.1.1."""
    answer = exchange(server, post("expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert status(answer) == 200
    assert b"100 Continue" not in answer


def test_who_asks_before_it_sends_is_told_in_its_turn(server: Running) -> None:
    """RFC 9112, 9.3.2."""
    head, _, body = post("expect: 100-continue", "connection: close").partition(b"\r\n\r\n")
    with server.connect() as connection:
        connection.sendall(post(body=SLOW) + head + b"\r\n\r\n")
        answers = b""
        while not answers.endswith(b"HTTP/1.1 100 Continue\r\n\r\n"):
            data = connection.recv(65536)
            assert data, answers
            answers += data
        assert status(answers) == 200
        assert answers.count(b"HTTP/1.1") == 2
        connection.sendall(body)
        assert status(read_all(connection)) == 200
    with server.connect() as connection:  # one that does not wait needs to be told nothing
        connection.sendall(post(body=SLOW) + head + b"\r\n\r\n")
        time.sleep(0.1)
        connection.sendall(body)
        answers = read_all(connection)
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert answers.count(b"100 Continue") <= 1
    assert answers.startswith(b"HTTP/1.1 200")


def test_allowed_is_head_where_get_is(server: Running) -> None:
    """RFC 9110, 10.2.1."""
    assert server.request("PUT", "/healthz").headers["allow"] == "GET, HEAD"
    assert server.request("PUT", "/predict").headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/predict", "/queries.json", "/v1/models/sum:predict"])
def test_json_may_begin_with_a_mark(server: Running, path: str) -> None:
    """RFC 8259, 8.1."""
    rows = {"/predict": BODY, "/queries.json": BODY[1:-1]}.get(path, b'{"instances": %s}' % BODY)
    assert server.post(path, b"\xef\xbb\xbf" + rows).status == server.post(path, rows).status == 200
    assert server.post(path, b"\xef\xbb\xbf\xef\xbb\xbf" + rows).status == 400
    assert server.post(path, b"\xef\xbb\xbf").status == 400


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/csv;q=1, application/json;q=0.1", "text/csv"),
        ("text/csv;q=0, application/json", "application/json"),
        ("application/xml;q=0.9, text/*;q=0.1", "text/csv"),
        ("text/csv, */*", "application/json"),
        ("text/csv, */*;q=0.5", "text/csv"),
    ],
)
def test_accepted_by_weight(server: Running, accept: str, kind: str) -> None:
    """RFC 9110, 12.4.2."""
    answer = server.post("/invocations", {"instances": [{"a": 1, "b": 2.0, "word": "x"}]}, accept=accept)
    assert answer.headers["content-type"].partition(";")[0] == kind
