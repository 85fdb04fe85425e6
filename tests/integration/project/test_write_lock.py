from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
from dulwich import porcelain

from modelyard.errors import ProjectError
from modelyard.project.check import check
from modelyard.project.new import new
from modelyard.project.write_lock import GIT_FILE, write_git_entry, write_lock

SMALL = """\
from sacred import Experiment

ex = Experiment("small")


@ex.config
def config():
    rate = 0.5  # how fast


@ex.automain
def main(_run):
    from modelyard import log_model

    log_model(_run, None, example=[])
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A project that needs Sacred and nothing large."""
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "model.yaml").write_text("name: small\n")
    (folder / "train.py").write_text(SMALL)
    everything = (files("modelyard") / "templates/project/requirements.txt").read_text()
    packages = re.split(r"\n(?=\w)", everything)[1:]
    large = ("numpy", "scipy", "pandas", "scikit-learn", "tzdata", "pytz", "joblib", "threadpoolctl")
    (folder / "requirements.txt").write_text("\n".join(one for one in packages if not one.startswith(large)))
    return folder


def test_a_lock_is_what_check_wants(small: Path, home: Path) -> None:
    lines: list[str] = []
    with pytest.raises(ProjectError, match=r"modelyard lock small"):
        check(small)
    assert write_lock(small, home, lines.append)
    check(small)
    content = json.loads((small / "model.lock.json").read_text())
    assert content["config"] == [{"path": "rate", "type": "number", "default": 0.5, "doc": "how fast"}]
    assert content["source"] == {"folder": "."}
    assert lines

    before = (small / "model.lock.json").stat().st_mtime_ns
    assert not write_lock(small, home, lines.append)
    assert (small / "model.lock.json").stat().st_mtime_ns == before
    assert [path.name for path in small.iterdir() if path.name.startswith(".")] == []


def test_no_lock_of_a_project_that_is_not_sound(small: Path, home: Path) -> None:
    (small / "train.py").write_text("print('hello')\n")
    with pytest.raises(ProjectError, match="defines no Sacred experiment"):
        write_lock(small, home, print)
    assert not (small / "model.lock.json").exists()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    new(tmp_path / "origin/models/my-model")
    (tmp_path / "origin/models/my-model/.git").rename(tmp_path / "unused")
    porcelain.init(tmp_path / "origin")
    commit(tmp_path / "origin")
    return tmp_path / "origin"


def commit(folder: Path) -> None:
    porcelain.add(folder)
    porcelain.commit(folder, message=b"x", author=b"A <a@example.com>", committer=b"A <a@example.com>")


def test_a_git_project_is_entered_once(repository: Path, tmp_path: Path) -> None:
    source = {"git": repository.as_uri(), "ref": "master", "subfolder": "models/my-model"}
    for connection in (None, "git_default"):
        assert write_git_entry(tmp_path, source, connection, None) == "my-model"
    (entry,) = json.loads((tmp_path / GIT_FILE).read_text())
    lock = json.loads((repository / "models/my-model/model.lock.json").read_text())
    assert entry == {**source, "connection": "git_default", "lock": lock}


def test_a_git_project_with_a_stale_lock_is_refused(repository: Path, tmp_path: Path) -> None:
    with (repository / "models/my-model/model.yaml").open("a") as file:
        file.write("seed: 1\n")
    commit(repository)
    with pytest.raises(ProjectError, match="It is stale"):
        write_git_entry(tmp_path, {"git": repository.as_uri(), "subfolder": "models/my-model"}, None, None)
    assert not (tmp_path / GIT_FILE).exists()


def test_a_list_that_cannot_be_read_is_not_overwritten(repository: Path, tmp_path: Path) -> None:
    (tmp_path / GIT_FILE).write_text("{}")
    with pytest.raises(ProjectError, match=GIT_FILE):
        write_git_entry(tmp_path, {"git": repository.as_uri(), "subfolder": "models/my-model"}, None, None)
    assert (tmp_path / GIT_FILE).read_text() == "{}"
