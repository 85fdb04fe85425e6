"""A proxy before a real server that fails when it is told to: what a network and an overloaded registry do."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from typing import Literal

from tests.answering import running

# Before: the server never sees the request. After: it does, and the answer is lost. Half: half a body gets through.
Fault = Literal["drop before", "drop after", "half of the request", "half of the answer"] | int


class FaultyProxy(ThreadingHTTPServer):
    """Attributes:
    faults: the next request whose method and part of the path match meets the fault; then it is gone from here.
    seen: method and path of every request, in order.
    """

    daemon_threads = True

    def __init__(self, behind: str, tls: SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.behind = behind
        self.faults: list[tuple[str, str, Fault]] = []
        self.seen: list[str] = []
        self._lock = threading.Lock()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def next_fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.seen.append(f"{method} {path}")
            for number, (wanted, part, fault) in enumerate(self.faults):
                if wanted == method and part in path:
                    del self.faults[number]
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.next_fault(self.command, self.path)
        if isinstance(fault, int):
            self.send_response(fault)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if fault == "drop before":
            self._drop()
            return
        if fault == "half of the request":
            self._forward_half(body)
            self._drop()
            return
        connection = http.client.HTTPConnection(self.server.behind, timeout=20)
        headers = {key: value for key, value in self.headers.items() if key.lower() != "connection"}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        if fault == "drop after":
            self._drop()
            return
        self.send_response(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in ("connection", "date", "server"):
                self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if fault == "half of the answer" else data)
        if fault == "half of the answer":
            self._drop()

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = _handle  # noqa: N815

    def _forward_half(self, body: bytes) -> None:
        with socket.create_connection(tuple(self.server.behind.split(":"))) as connection:  # type: ignore[arg-type]
            head = f"{self.command} {self.path} HTTP/1.1\r\nHost: {self.headers['Host']}\r\n"
            head += f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body[: len(body) // 2])

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def faulty_proxy(behind: str, tls: SSLContext | None = None) -> Iterator[FaultyProxy]:
    with FaultyProxy(behind, tls) as proxy, running(proxy):
        yield proxy
