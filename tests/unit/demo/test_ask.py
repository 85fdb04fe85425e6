"""What the demo asks last, of a service that has ended meanwhile or is broken."""

from __future__ import annotations

import http.server
import threading

import pytest
from rich.console import Console

from modelyard.demo.__main__ import _ask
from modelyard.errors import Unavailable


def test_a_service_that_is_away_is_told_in_words() -> None:
    with pytest.raises(Unavailable, match=r"The service at http://127\.0\.0\.1:9 gives no prediction: .*refused"):
        _ask("http://127.0.0.1:9", Console())


def test_a_service_that_refuses_is_told_in_words() -> None:
    # Knows GET alone, and of nothing: 404.
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(Unavailable, match=r"gives no prediction: .*404"):
            _ask(f"http://127.0.0.1:{server.server_address[1]}", Console())
        server.shutdown()
