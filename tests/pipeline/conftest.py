"""The whole line without Airflow: a store, a folder of this machine, and projects to run through it."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from dulwich import porcelain

from modelyard.deployment.local import stop_all
from modelyard.project.lock import read_lock
from modelyard.steps.local_run import run_pipeline
from modelyard.store import Store, StoreAddress

EXAMPLES = Path(__file__).parents[2] / "include" / "examples"


@dataclass
class Yard:
    """A store of its own, and a machine's folder that shares only built environments with other tests.

    Attributes:
        lines: what the last run printed, ``step: line``.
        pipeline_run: the last run's key.
    """

    address: StoreAddress
    home: Path
    lines: list[str] = field(default_factory=list)
    pipeline_run: str = ""

    def run(self, project: Path, run_id: str | None = None, **params: Any) -> int:
        """Take a project through the pipeline and return its exit code; dots in Params are written as ``__``."""
        self.lines.clear()
        lock = read_lock(project) | {"source": {"folder": str(project)}}
        conf = {key.replace("__", "."): value for key, value in params.items()}
        self.pipeline_run, code = run_pipeline(
            lock, conf, self.address, self.home, lambda step, line: self.lines.append(f"{step}: {line}"), run_id
        )
        return code

    @property
    def said(self) -> str:
        """Everything the last run printed."""
        return "\n".join(self.lines)

    def open(self) -> Store:
        """Open the store."""
        return Store.open(self.address)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a session builds once: images of environments, their unpacked folders, uv's cache."""
    return tmp_path_factory.mktemp("built")


@pytest.fixture
def yard(store_address: StoreAddress, tmp_path: Path, built: Path) -> Iterator[Yard]:
    """A yard whose services end with the test."""
    home = tmp_path / "home"
    home.mkdir()
    for shared in ("cache", "environments"):
        (built / shared).mkdir(exist_ok=True)
        (home / shared).symlink_to(built / shared)
    yard = Yard(replace(store_address, registry=f"oci:{built / 'images'}"), home)
    yield yard
    stop_all(home)


@pytest.fixture
def project(tmp_path: Path) -> Callable[[str], Path]:
    """Copy an example into a Git repository of its own, committed, and return its folder."""

    def make(name: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(EXAMPLES / name, folder)
        porcelain.init(folder)
        commit(folder)
        return folder

    return make


def commit(folder: Path) -> str:
    """Commit everything in a project and return the commit's hash."""
    porcelain.add(folder)
    who = b"Tester <tester@example.com>"
    return porcelain.commit(folder, b"As it is", author=who, committer=who).decode()


def ask(address: str, row: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Ask a service for the prediction of one row; return it with the answer's headers."""
    body = json.dumps({"rows": [row]}).encode()
    request = urllib.request.Request(f"{address}/predict", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        prediction: dict[str, Any] = json.load(answer)["predictions"][0]
        return prediction, dict(answer.headers)
