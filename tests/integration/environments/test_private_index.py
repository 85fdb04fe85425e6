"""Packages from an index that asks for a login: the credential gets them, and gets nowhere else."""

from __future__ import annotations

import base64
import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from modelyard.environments import ensure, python_of, read_lock
from modelyard.errors import EnvironmentBuildError, ModelyardError
from modelyard.images.compression import decompressing
from modelyard.images.layout import Layout

USER, PASSWORD = "reader", "not-written-anywhere"
_HEADER = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"


class _Guarded(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.headers.get("Authorization") == _HEADER:
            super().do_GET()
            return
        self.send_response(401)
        self.send_header("WWW-Authenticate", "Basic realm=packages")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def host(index: Any, tmp_path: Path) -> Iterator[str]:
    """A package index behind a login: ``host:port``, with one package ``hello``."""
    root = tmp_path / "served"
    (root / "simple" / "hello").mkdir(parents=True)
    index.pin = index.wheel("hello", "1.0", {"hello.py": "print('hello')\n"})
    (wheel,) = index.folder.iterdir()
    wheel.rename(root / "simple" / "hello" / wheel.name)
    (root / "simple" / "hello" / "index.html").write_text(f"<a href='{wheel.name}'>{wheel.name}</a>")
    index.configuration.write_text("")
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Guarded, directory=str(root))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def in_the_address(host: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_INDEX_URL", f"http://{USER}:{PASSWORD}@{host}/simple")


def in_netrc(host: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "netrc").write_text(f"machine {host.partition(':')[0]} login {USER} password {PASSWORD}\n")
    monkeypatch.setenv("NETRC", str(folder / "netrc"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://{host}/simple")


def in_variables_of_their_own(host: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"team=http://{host}/simple")
    monkeypatch.setenv("UV_INDEX_TEAM_USERNAME", USER)
    monkeypatch.setenv("UV_INDEX_TEAM_PASSWORD", PASSWORD)


def in_a_keyring(host: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "bin").mkdir()
    program = folder / "bin" / "keyring"
    program.write_text(f'#!/bin/sh\n[ "$1" = get ] && echo {PASSWORD}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("UV_KEYRING_PROVIDER", "subprocess")
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://{USER}@{host}/simple")


@pytest.mark.parametrize("given", [in_the_address, in_netrc, in_variables_of_their_own, in_a_keyring])
def test_a_login_is_used_and_kept_nowhere(
    given: Any, host: str, index: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(host, tmp_path, monkeypatch)
    lock = tmp_path / "requirements.txt"
    lock.write_text(index.pin)
    images, home, said = Layout(tmp_path / "images"), tmp_path / "home", list[str]()

    ref = ensure(read_lock(lock), images, home, said.append)

    image = images.pull(ref.repository, ref.image_digest)
    kept = [image.manifest, image.config, str(ref.to_json()).encode(), *(line.encode() for line in said)]
    for layer in image.layers:
        with layer.open() as stream, decompressing(stream, layer.media_type) as plain:
            kept.append(plain.read())
    python = python_of(ref, images, home)
    kept += [path.read_bytes() for path in python.parents[1].rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(b"hello" in data for data in kept)
    for secret in (PASSWORD, _HEADER.partition(" ")[2]):
        assert not any(secret.encode() in data for data in kept)


@pytest.mark.parametrize("given", [in_the_address, in_netrc, in_variables_of_their_own, in_a_keyring])
def test_other_bytes_than_were_locked_are_refused_without_a_word_of_the_login(
    given: Any, host: str, index: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(host, tmp_path, monkeypatch)
    lock = tmp_path / "requirements.txt"
    lock.write_text(f"hello==1.0 --hash=sha256:{'0' * 64}\n")

    with pytest.raises(EnvironmentBuildError, match=r"hello==1\.0 has other bytes") as caught:
        ensure(read_lock(lock), Layout(tmp_path / "images"), tmp_path / "home", lambda _: None)

    assert PASSWORD not in str(caught.value)


def test_a_wrong_login_is_told_without_it(
    host: str, index: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_INDEX_URL", f"http://{USER}:wr0ng@{host}/simple")
    lock = tmp_path / "requirements.txt"
    lock.write_text(index.pin)

    with pytest.raises(ModelyardError, match=f"(?s){host}.*401") as caught:
        ensure(read_lock(lock), Layout(tmp_path / "images"), tmp_path / "home", lambda _: None)

    assert "wr0ng" not in str(caught.value)
