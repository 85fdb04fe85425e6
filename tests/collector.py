"""A collector of OpenTelemetry's traces, as far as a server can tell: it keeps what it is sent."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Collector(http.server.ThreadingHTTPServer):
    """Keeps what it is sent."""

    def __init__(self, address: str) -> None:
        super().__init__((address, 0), _Handler)
        self.sent: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def spans(self) -> list[dict[str, Any]]:
        return [
            span
            for _, _, body in self.sent
            for resource in json.loads(body)["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.sent.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def collecting(address: str) -> Iterator[Collector]:
    """Collect at a free port of one of this machine's addresses while the block runs."""
    with Collector(address) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
