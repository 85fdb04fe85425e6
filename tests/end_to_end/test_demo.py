"""`make demo` and `make stop`, as their recipes run them, in a folder that looks like a clone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from tests.fixtures_machine import REPOSITORY


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for name in ("airflow.cfg.example", "dags", "include", "plugins"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    return tmp_path


def demo(clone: Path, command: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "modelyard.demo", command], cwd=clone, capture_output=True, text=True, timeout=1800
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def processes_of(folder: Path) -> list[str]:
    """Whatever runs and was told of this folder, by its command line, its environment or its working directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            known = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            if str(folder).encode() in known or (process / "cwd").resolve().is_relative_to(folder):
                found.append(known.decode(errors="replace"))
    return found


def test_the_demo_ends_with_an_answer_and_stop_leaves_nothing(clone: Path):
    try:
        said = demo(clone, "up")
        assert re.search(r"deploy +success", said)
        answer = next(json.loads(line) for line in said.splitlines() if line.startswith('{"predictions"'))
        assert answer["model_version"] == "1"
        airflow, models, service = (
            re.search(rf"{name} +(http://\S+)", said).group(1)  # type: ignore[union-attr]
            for name in ("Airflow", "Models", "Service")
        )
        password = re.search(r"password (\S+)", said).group(1)  # type: ignore[union-attr]
        login = {"username": "admin", "password": password}
        assert httpx.post(f"{airflow}/auth/token", json=login, timeout=60).status_code == 201
        assert models.startswith(airflow)
        assert httpx.get(f"{service}/readyz").headers["modelyard-model-version"] == "1"

        again = demo(clone, "up")
        assert f"Service    {service}" in again
        assert httpx.get(f"{service}/readyz").headers["modelyard-model-version"] == "2"
    finally:
        demo(clone, "stop")
    assert processes_of(clone) == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(airflow)
    with pytest.raises(httpx.ConnectError):
        httpx.get(service)
    made = {path.name for path in clone.iterdir() if not path.is_symlink()}
    assert made == {".modelyard"}
