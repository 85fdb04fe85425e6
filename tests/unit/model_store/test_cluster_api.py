from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from urllib3.exceptions import HTTPError, ReadTimeoutError

from model_store import cluster_api
from model_store.cluster_api import ClusterAwayError, StepClusterHook


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def pods_of(server: str) -> Any:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    api = StepClusterHook(conn_id=None, config_dict=config).core_v1_client
    return lambda: api.list_namespaced_pod("models")


def test_a_call_that_is_not_answered_fails_soon_and_in_the_end_for_good(
    silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_api, "_ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(cluster_api, "_AWAY_SECONDS", 0.5)
    ask, began = pods_of(silent), time.monotonic()
    with pytest.raises(ReadTimeoutError):
        ask()
    assert time.monotonic() - began < 0.4  # it is made once
    while time.monotonic() - began < 0.5:
        with pytest.raises((HTTPError, ClusterAwayError)):
            ask()
    with pytest.raises(ClusterAwayError, match="cannot be reached"):
        ask()


def test_an_answer_in_between_begins_the_time_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_api, "_ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(cluster_api, "_AWAY_SECONDS", 0.5)
    silent = [True]

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not silent[0]:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'{"items": []}')
            self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ask = pods_of(f"http://127.0.0.1:{server.server_port}")
        for _ in range(2):
            silent[0] = True
            with pytest.raises(HTTPError):
                ask()
            time.sleep(0.6)
            silent[0] = False
            assert ask().items == []
        server.shutdown()
