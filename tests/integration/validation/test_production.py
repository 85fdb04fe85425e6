from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.image_roots import make_root

from modelyard.errors import Unavailable
from modelyard.validation.production import Production
from modelyard.validation.scoring import ModelError

ROWS = {"columns": {"a": [1, 2], "b": [0.5, 0.25], "word": ["x", None]}}


@contextmanager
def serving(root: Path) -> Iterator[str]:
    """The real model server, as it runs beside a step: its address is known before it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = subprocess.Popen(
            [sys.executable, "-I", "-m", "modelyard.serving", "--root", str(root), "--fd", str(listener.fileno())],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            env={"PATH": os.defpath, "MODELYARD_MODEL_NAME": "sum", "MODELYARD_MODEL_VERSION": "3"},
        )
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            process.kill()
            process.wait()


@contextmanager
def answering(status: int, answer: Any) -> Iterator[str]:
    """A server that gives every request the same answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_it_waits_for_the_server_and_asks_in_the_order_of_the_rows(tmp_path: Path) -> None:
    with serving(make_root(tmp_path / "root", load_seconds=0.5)) as address:
        production = Production(address, 3)
        production.wait_until_ready()
        assert production.ask(ROWS) == {"prediction": [1.5, 2.25], "probability": [[0.25, 0.75], [0.25, 0.75]]}


def test_rows_that_the_server_refuses_are_told(tmp_path: Path) -> None:
    with serving(make_root(tmp_path / "root")) as address:
        production = Production(address, 3)
        production.wait_until_ready()
        with pytest.raises(ModelError, match=r"answers 422: .*word"):
            production.ask({"columns": {"a": [1], "b": [0.5]}})


def test_another_version_than_expected_is_worth_another_try(tmp_path: Path) -> None:
    with serving(make_root(tmp_path / "root")) as address:
        production = Production(address, 4)
        production.wait_until_ready()
        with pytest.raises(Unavailable, match="Version 3 answers beside this step, and version 4 is in production"):
            production.ask(ROWS)


def test_a_server_that_never_gets_ready_is_given_up(tmp_path: Path) -> None:
    with (
        serving(make_root(tmp_path / "root", load_seconds=60)) as address,
        pytest.raises(ModelError, match="after 1 s"),
    ):
        Production(address, 3, ready_seconds=1).wait_until_ready()


def test_nobody_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(ModelError, match="cannot be reached"):
        Production(address, 3, ready_seconds=0).wait_until_ready()
    with pytest.raises(ModelError, match="cannot be reached"):
        Production(address, 3).ask(ROWS)


@pytest.mark.parametrize(
    ("status", "answer", "told"),
    [
        (500, b"a fault", "answers 500: a fault"),
        (200, b"<html>", "no JSON"),
        (200, [], "no JSON object"),
        (200, {"predictions": [{"prediction": 1}]}, "did not answer 2 rows with 2 predictions"),
        (200, {"error": "x"}, "did not answer 2 rows"),
        (200, {"predictions": [{"prediction": 1}, {}]}, "not the same outputs"),
    ],
)
def test_an_answer_that_is_none(status: int, answer: Any, told: str) -> None:
    with answering(status, answer) as address, pytest.raises(ModelError, match=told):
        Production(address, 3).ask(ROWS)


def test_a_proxy_has_no_part_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with answering(200, {"predictions": [{"prediction": 1}, {"prediction": 2}]}) as address:
        assert Production(address, 3).ask(ROWS) == {"prediction": [1, 2]}
