"""What the step makes of what its builder leaves; the builder is a thread here, which leaves what no Buildah would."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.dockerfile.beside import BesideBuilder
from modelyard.dockerfile.builder import Build
from modelyard.errors import EnvironmentBuildError, ImageError, ModelyardError, Unavailable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("request", "result", "context"):
        (tmp_path / name).mkdir()
    (tmp_path / "context" / "file").write_text("content")
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "secret").write_text('{"password": "top-secret"}')
    return tmp_path


def build(folder: Path, leave: Callable[[Path], None]) -> tuple[ModelyardError, list[str]]:
    """Have a builder leave something; return why it is refused, and what was logged."""
    lines: list[str] = []

    def builder() -> None:
        while not (folder / "request" / "begin").exists():
            pass
        leave(folder / "result")

    thread = threading.Thread(target=builder)
    thread.start()
    with pytest.raises(ModelyardError) as refused:
        BesideBuilder(folder).build(Build(folder / "context", folder / "Dockerfile", {}), lines.append)
    thread.join()
    return refused.value, lines


def _ended(result: Path, log: str, code: str) -> None:
    (result / "log").write_text(log)
    (result / "code").write_text(code)


def test_the_line_that_failed_is_the_reason_with_what_it_said(folder: Path):
    log = "STEP 1/2: FROM a\nbefore\nSTEP 2/2: RUN b\n0%\r100%\nno such thing\nError: exit status 1"
    error, lines = build(folder, lambda result: _ended(result, log, "1"))
    assert isinstance(error, EnvironmentBuildError)
    assert "STEP 2/2: RUN b\n100%\nno such thing\nError: exit status 1" in error.message
    assert "before" not in error.message
    assert "before" in lines
    assert (folder / "request" / "context" / "file").read_text() == "content"


@pytest.mark.parametrize(("code", "kind"), [("77", EnvironmentBuildError), ("75", Unavailable)])
def test_what_is_no_fault_of_the_dockerfile_is_told_apart(folder: Path, code: str, kind: type[ModelyardError]):
    error, _ = build(folder, lambda result: _ended(result, "Operation not permitted", code))
    assert type(error) is kind
    assert "Operation not permitted" in error.message


def _link_as_log(result: Path) -> None:
    (result / "log").symlink_to(result.parent / "secret")


def _link_as_manifest(result: Path) -> None:
    (result / "image").mkdir()
    (result / "image" / "manifest.json").symlink_to(result.parent / "secret")
    _ended(result, "", "0")


def _link_as_folder(result: Path) -> None:
    (result / "image").symlink_to(result.parent)
    _ended(result, "", "0")


def _pipe_as_log(result: Path) -> None:
    os.mkfifo(result / "log")


def _path_as_digest(result: Path) -> None:
    (result / "image").mkdir()
    (result / "image" / "manifest.json").write_text(json.dumps({"config": {"digest": "sha256:../../secret"}}))
    _ended(result, "", "0")


def _other_bytes(result: Path) -> None:
    (result / "image").mkdir()
    (result / "image" / ("0" * 64)).write_text("{}")
    (result / "image" / "manifest.json").write_text(json.dumps({"config": {"digest": f"sha256:{'0' * 64}"}}))
    _ended(result, "", "0")


@pytest.mark.parametrize(
    "leave", [_link_as_log, _link_as_manifest, _link_as_folder, _pipe_as_log, _path_as_digest, _other_bytes]
)
def test_nothing_that_leads_elsewhere_is_followed(folder: Path, leave: Callable[[Path], None]):
    error, lines = build(folder, leave)
    assert isinstance(error, ImageError)
    assert not [text for text in (str(error), *lines) if "top-secret" in text]
