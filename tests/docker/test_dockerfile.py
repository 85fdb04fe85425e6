"""A real Docker engine as the builder of a project's Dockerfile, alone."""

from __future__ import annotations

import io
import json
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures_docker import Engine

from modelyard.dockerfile import engine as builder
from modelyard.dockerfile.builder import Build
from modelyard.dockerfile.engine import EngineBuilder
from modelyard.errors import EnvironmentBuildError, Unavailable
from modelyard.images import Image
from modelyard.images.base import pull_image
from modelyard.images.layer import compress
from modelyard.store import StoreAddress

_LABELLED = {"label": "modelyard.io/build"}
_FROM = "ARG base=a/base:1\nFROM ${base} AS base\nFROM base AS tool\nRUN echo made >/made\nFROM base\n"
_COPIES = """\
LABEL kept=yes
COPY . /context/
COPY --from=tool /made /made
RUN echo said; echo red >&2
"""


@pytest.fixture(scope="module")
def base(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = tmp_path_factory.mktemp("base")
    address = StoreAddress("mongodb://unused", "file:///unused", f"{engine.registry}/x", registry_insecure=True)
    return pull_image(f"{engine.registry}/library/python:3.11-slim", address, folder)


@pytest.fixture
def build(
    engine: Engine, base: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[Image, list[str]]]]:
    """Builds these lines on the base, and looks that nothing of it stays with the engine."""
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    client = engine.client()
    before = _there(client)
    (tmp_path / "context").mkdir()
    for name, text in ((".dockerignore", "secret\n"), ("file", "content")):
        (tmp_path / "context" / name).write_text(text)
    lines: list[str] = []

    def build(text: str, tell: Callable[[str], None] = lines.append) -> tuple[Image, list[str]]:
        dockerfile = tmp_path / "Dockerfile"
        dockerfile.write_text(text)
        what = Build(tmp_path / "context", dockerfile, {"a/base:1": base})
        return EngineBuilder(tmp_path / f"built-{len(list(tmp_path.iterdir()))}").build(what, tell), lines

    yield build
    assert _there(client) == before


def _there(client: Any) -> list[list[str]]:
    cache = [one["ID"] for one in client.df()["BuildCache"] or ()]
    return [sorted(client.images(all=True, quiet=True)), [one["Id"] for one in client.containers(all=True)], cache]


def test_it_is_built_of_what_was_handed_over_and_nothing_stays(
    build: Callable[..., tuple[Image, list[str]]], base: Image, tmp_path: Path
) -> None:
    image, lines = build(_FROM + _COPIES)
    assert [layer.diff_id for layer in image.layers[: len(base.layers)]] == [layer.diff_id for layer in base.layers]
    copied, made = (compress(layer, tmp_path / "packed", "gzip") for layer in image.layers[len(base.layers) :])
    assert sorted(_files(copied.open())) == ["context/.dockerignore", "context/file"]
    assert _files(made.open()) == ["made"]
    assert image.parsed_config["config"]["Labels"] == {"kept": "yes"}
    assert "modelyard-build" not in json.dumps(image.parsed_config)
    assert "Step 2/9 : FROM a/base:1 AS base" in lines
    assert lines[-2:] == ["said", "red"]


def _files(stream: Any) -> list[str]:
    with stream, tarfile.open(fileobj=io.BytesIO(stream.read())) as tar:
        return [member.name for member in tar if member.isfile()]


def test_a_line_that_fails_is_the_reason_and_nothing_stays(build: Callable[..., tuple[Image, list[str]]]) -> None:
    with pytest.raises(EnvironmentBuildError) as failed:
        build("FROM a/base:1\nRUN echo before\nRUN echo why >&2; exit 3\nRUN after\n")
    assert failed.value.message == (
        "The Dockerfile cannot be built: Step 3/4 : RUN echo why >&2; exit 3\nwhy\n"
        "The command '/bin/sh -c echo why >&2; exit 3' returned a non-zero code: 3"
    )
    with pytest.raises(EnvironmentBuildError, match=r"cannot be built: dockerfile parse error line 2: .*NOTHING"):
        build("FROM a/base:1\nNOTHING\n")


def test_by_buildkit_it_is_built_and_a_line_that_fails_is_the_reason(
    build: Callable[..., tuple[Image, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As engines since Docker 23 build; those before have it, too."""
    monkeypatch.setattr(builder, "_builder_version", lambda _: builder._BUILDKIT)
    run = "RUN --mount=type=cache,target=/c echo one >/c/one; echo of one"
    image, lines = build(
        f"# syntax=docker/dockerfile:1\nFROM a/base:1 AS one\n{run}\nFROM scratch\nCOPY --from=one /etc/passwd /\n"
    )
    assert [_files(layer.open()) for layer in image.layers] == [["passwd"]]
    assert lines[-3:-1] == [f"STEP [one 2/2] {run}", "of one"]
    with pytest.raises(EnvironmentBuildError) as failed:
        build("FROM a/base:1\nRUN echo before\nRUN echo why >&2; exit 3\nRUN after\n")
    assert failed.value.message.startswith("The Dockerfile cannot be built: STEP [3/4] RUN echo why >&2; exit 3\nwhy\n")
    assert "exit code: 3" in failed.value.message


def test_an_engine_that_goes_away_is_told_and_what_it_has_is_removed_later(
    build: Callable[..., tuple[Image, list[str]]], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with _reached_by_tcp(engine) as (url, cut):
        monkeypatch.setenv("DOCKER_HOST", url)

        def tell(line: str) -> None:
            said.append(line)
            if line == "begun":
                cut()

        with pytest.raises(Unavailable, match="The Docker engine cannot be reached"):
            build("FROM a/base:1\nRUN echo begun; sleep 600\n", tell)
    assert "is not removed: The Docker engine cannot be reached" in said[-1]
    with pytest.raises(Unavailable, match="The Docker engine cannot be reached"):
        build("FROM a/base:1\n")
    assert engine.client().images(all=True, filters=_LABELLED)
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    monkeypatch.setattr(builder, "_DAY", 0)
    with builder._cleaned(engine.client(), builder._CLASSIC, said.append):
        assert not engine.client().images(all=True, filters=_LABELLED)


@contextmanager
def _reached_by_tcp(engine: Engine) -> Iterator[tuple[str, Callable[[], None]]]:
    """Give an address of the engine, and what cuts it off."""
    open_: list[socket.socket] = []

    def pass_on(source: socket.socket, to: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                to.sendall(data)
        with suppress(OSError):
            to.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(engine.url.removeprefix("unix://"))
                open_.extend((near, far))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=pass_on, args=pair, daemon=True).start()

    def cut() -> None:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for one in open_:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield f"tcp://127.0.0.1:{listener.getsockname()[1]}", cut
    thread.join()
