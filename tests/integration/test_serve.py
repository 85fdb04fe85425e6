"""``modelyard serve``: a version of the store answers, by its image's own server, until it is told to end."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.processes import below, wait_until
from tests.released_models import version
from tests.triple import build

from modelyard.cli import main
from modelyard.images.layout import Layout
from modelyard.store import Store, StoreAddress


@pytest.fixture
def environment(store: Store, store_address: StoreAddress, tmp_path: Path) -> dict[str, str]:
    """A store with the tripling model: version 1 has an image and is in production, version 2 is a candidate."""
    layout = Layout(Path(store_address.registry.removeprefix("oci:")))
    image, _ = build(layout, tmp_path / "built")
    digest = layout.push("triple", image, "1")
    released = version(store, "triple", run_id=1)
    store.versions.set_image("triple", released.version, digest)
    version(store, "triple", run_id=2)
    store.aliases.move("triple", "production", to=1, by="ada", why="it triples")
    return {**store_address.to_environment(), "MODELYARD_HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]}


@contextmanager
def serving(environment: dict[str, str], *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    """Run the command; yields it, its server's address and the file of what it says."""
    said = Path(environment["MODELYARD_HOME"]).with_name(f"said-{secrets.token_hex(4)}")
    command = [sys.executable, "-m", "modelyard", "serve", *arguments, "--port", "0"]
    with said.open("w") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, text=True)
    try:
        wait_until(lambda: " at http" in said.read_text() or process.poll() is not None, "it listens", 60)
        found = re.search(r"at (http://\S+)", said.read_text())
        assert found, said.read_text()
        yield process, found[1], said
    finally:
        process.kill()
        process.wait()


def ask(address: str, token: str | None = None, path: str = "/predict") -> Any:
    """Wait for the answer of a server that may be starting still."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    body: Any = [{"x": 4}] if path == "/predict" else {"instances": [{"x": 4}]}
    deadline = time.monotonic() + 30
    while True:
        request = urllib.request.Request(f"{address}{path}", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.headers, json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_a_version_by_number_by_alias_and_the_newest_with_an_image(environment: dict[str, str]) -> None:
    for what in ("triple:1", "triple@production", "triple"):
        with serving(environment, what, "--workers", "2") as (process, address, said):
            headers, answer = ask(address)
            assert answer["predictions"] == [{"prediction": 12}]
            assert (headers["modelyard-model-version"], headers["modelyard-run-id"]) == ("1", "1")
            assert headers["modelyard-image-digest"].startswith("sha256:")
            assert f"triple:1 at {address}" in said.read_text()
            started = below(process.pid)
            assert sum("modelyard.client.worker" in one.command or "-c import" in one.command for one in started) >= 1
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            assert not any(one.alive for one in started)


def test_who_asks_needs_a_token_when_a_file_says_so(environment: dict[str, str], tmp_path: Path) -> None:
    token = secrets.token_urlsafe()
    (tmp_path / "tokens").write_text(token)
    with serving(environment, "triple", "--tokens-file", str(tmp_path / "tokens")) as (_, address, said):
        assert ask(address, token)[1]["predictions"] == [{"prediction": 12}]
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(address)
        assert refused.value.code == 401
        assert token not in said.read_text()


def test_it_is_told_what_a_container_would_be(environment: dict[str, str]) -> None:
    told = {
        "AIP_PREDICT_ROUTE": "/here",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }
    with serving(environment | told, "triple") as (_, address, said):
        assert ask(address, path="/here")[1]["predictions"] == [12]
        assert "OTEL_EXPORTER_OTLP_PROTOCOL is grpc" in said.read_text()


def test_its_end_is_its_servers_end(environment: dict[str, str]) -> None:
    with serving(environment, "triple") as (process, address, _):
        ask(address)
        started = below(process.pid)
        assert started
        process.kill()
        wait_until(lambda: not any(one.alive for one in started), "nothing of it stays", 20)


def test_what_cannot_be_served_is_told(environment: dict[str, str]) -> None:
    for what, text in (
        ("triple:2", "it has no image yet"),
        ("triple:9", "There is no version 9 of 'triple'"),
        ("triple@canary", "it has: production"),
        ("double", "has no released version"),
        ("Triple!", "is not NAME, NAME:VERSION or NAME@ALIAS"),
    ):
        result = CliRunner(env=environment).invoke(main, ["serve", what, "--port", "0"])
        assert result.exit_code != 0
        assert text in result.output
        assert "Traceback" not in result.output
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner(env=environment).invoke(main, ["serve", "triple", "--port", port])
    assert f"127.0.0.1:{port} cannot be listened to" in result.output
