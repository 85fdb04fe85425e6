from __future__ import annotations

import sys
from pathlib import Path

import pytest

from modelyard.client import laptop
from modelyard.client.relay import RelayError


def test_the_named_command_comes_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MODELYARD_COMMAND", "/opt/tools/modelyard --quiet")
    assert laptop._command() == ["/opt/tools/modelyard", "--quiet"]


def test_an_environment_that_can_records_itself(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MODELYARD_COMMAND", raising=False)
    assert laptop._command() == [sys.executable, "-m", "modelyard"]


@pytest.fixture
def client_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A project's environment with the client in it, whose command cannot run; its folder's parent."""
    monkeypatch.delenv("MODELYARD_COMMAND", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "project"))
    for name in ("project", "tools"):
        command = tmp_path / name / "bin" / "modelyard"
        command.parent.mkdir(parents=True)
        command.write_text("#!/bin/sh\n")
        command.chmod(0o755)
    return tmp_path


def test_else_the_command_of_another_environment_is_found(client_alone: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", f"{client_alone}/project/bin:{client_alone}/tools/bin")
    assert laptop._command() == [f"{client_alone}/tools/bin/modelyard"]


def test_without_any_the_run_is_refused_with_the_remedy(client_alone: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", f"{client_alone}/project/bin")
    with pytest.raises(RelayError, match=r"uv tool install 'modelyard\[pipeline\]'"):
        laptop._command()
