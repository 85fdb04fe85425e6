"""Stands before a cluster's API server and notes what is asked of it, as RBAC names it: (verb, resource)."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}


def asked(method: str, target: str) -> tuple[str, str] | None:
    """Return verb and resource of a request for something in a namespace; None of any other."""
    path = urlsplit(target)
    parts = path.path.strip("/").split("/")
    if "namespaces" not in parts or len(parts) < parts.index("namespaces") + 3:
        return None
    resource, *rest = parts[parts.index("namespaces") + 2 :]
    if method != "GET":
        verb = _VERBS[method]
    elif rest:
        verb = "get"
    else:
        verb = "watch" if parse_qs(path.query).get("watch", [""])[0].lower() in ("true", "1") else "list"
    return verb, "/".join([resource, *rest[1:2]])


class Recorder:
    """What was asked, and where to ask: plain HTTP at a port of this machine.

    Attributes:
        seen: verb and resource of every request that the API server granted.
    """

    def __init__(self, server: str, ca_file: str) -> None:
        self.seen: set[tuple[str, str]] = set()
        self.url = ""
        self._server = urlsplit(server)
        self._context = ssl.create_default_context(cafile=ca_file)

    def connect(self) -> HTTPConnection:
        return HTTPSConnection(str(self._server.hostname), self._server.port or 443, context=self._context)


@contextmanager
def recording(server: str, ca_file: str) -> Iterator[Recorder]:
    """Forward to the API server at ``server``."""
    recorder = Recorder(server, ca_file)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")
            }
            connection = recorder.connect()
            try:
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                what = asked(self.command, self.path)
                if what is not None and answer.status != 403:
                    recorder.seen.add(what)
                    if answer.status == 201:  # server-side apply of what was not there asks for both rights
                        recorder.seen.add(("create", what[1]))
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.end_headers()
                while piece := answer.read1(1 << 16):  # a log that is followed comes line by line
                    self.wfile.write(piece)
                    self.wfile.flush()
            except (BrokenPipeError, ConnectionResetError):
                pass  # who asked has heard enough
            finally:
                connection.close()

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = forward  # noqa: N815 - the names that it calls

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        recorder.url = f"http://127.0.0.1:{listener.server_port}"
        thread = threading.Thread(target=listener.serve_forever, daemon=True)
        thread.start()
        yield recorder
        listener.shutdown()
