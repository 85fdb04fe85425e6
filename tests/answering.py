"""A small server whose answers a test writes: for what no real registry can be brought to do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext


@dataclass(frozen=True)
class Asked:
    """A request; ``path`` has its query."""

    method: str
    path: str
    headers: Message
    body: bytes

    @property
    def account(self) -> str | None:
        return self.headers["Authorization"]


@dataclass(frozen=True)
class Answer:
    """Attributes:
    headers: a name may come twice.
    sent: how many bytes of the body are sent before the connection drops; None for all, and it stays.
    """

    status: int
    headers: Iterable[tuple[str, str]] = ()
    body: bytes = b""
    sent: int | None = None


class Answering(ThreadingHTTPServer):
    """Attributes:
    answer: called with each request.
    asked: all of them, in order.
    """

    daemon_threads = True

    def __init__(self, answer: Callable[[Asked], Answer], tls: SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.asked: list[Asked] = []
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, *_: object) -> None:
        """Nothing: clients that do not trust it break off."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Answering

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = Asked(self.command, self.path, self.headers, body)
        self.server.asked.append(asked)
        answer = self.server.answer(asked)
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: answer.sent])
        if answer.sent is not None:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = _handle  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def answering(answer: Callable[[Asked], Answer], tls: SSLContext | None = None) -> Iterator[Answering]:
    with Answering(answer, tls) as server, running(server):
        yield server


@contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[None]:
    """Have a server of this process answer, in a thread of its own."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
