from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from dulwich import porcelain
from dulwich.objects import Commit
from dulwich.repo import Repo

from modelyard.sources import resolve


def commit(folder: Path) -> str:
    porcelain.add(folder)
    identity = b"A <a@example.com>"
    return porcelain.commit(folder, message=b"x", author=identity, committer=identity).decode()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    porcelain.init(tmp_path)
    folder = tmp_path / "models/wine"
    folder.mkdir(parents=True)
    (folder / "train.py").write_text("a = 1\n")
    (folder / "data.bin").write_bytes(b"\0\1")
    (tmp_path / "other.txt").write_text("1")
    return folder


def test_a_clean_folder_is_at_its_commit(project: Path, tmp_path: Path) -> None:
    head = commit(tmp_path)
    source = resolve({"folder": str(project)})
    assert (source.commit, source.dirty, source.diff) == (head, False, None)
    with Repo(str(tmp_path)) as repository:
        found = repository[head.encode()]
    assert isinstance(found, Commit)
    assert source.committed_at is not None
    assert source.committed_at.timestamp() == found.commit_time


def test_what_is_beside_the_project_does_not_count(project: Path, tmp_path: Path) -> None:
    commit(tmp_path)
    (tmp_path / "other.txt").write_text("2")
    (tmp_path / "new.txt").write_text("2")
    assert not resolve({"folder": str(project)}).dirty


def test_the_difference_holds_changed_new_and_deleted_files(project: Path, tmp_path: Path) -> None:
    (project / "old.py").write_text("gone\n")
    commit(tmp_path)
    (project / "train.py").write_text("a = 2\n")
    (project / "new.py").write_text("b = 3\n")
    (project / "old.py").unlink()
    source = resolve({"folder": str(project)})
    assert source.dirty
    assert source.diff is not None
    text = source.diff
    assert "-a = 1\n+a = 2\n" in text
    assert "+++ b/models/wine/new.py" in text
    assert "+b = 3" in text
    assert "--- a/models/wine/old.py" in text


def test_git_itself_applies_the_difference(project: Path, tmp_path: Path) -> None:
    commit(tmp_path)
    (project / "train.py").write_text("a = 2\n")
    (project / "sub").mkdir()
    (project / "sub/new.py").write_text("b = 3\n")
    diff = resolve({"folder": str(project)}).diff
    (project / "train.py").write_text("a = 1\n")
    (project / "sub/new.py").unlink()
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=diff, check=True, text=True)
    assert (project / "train.py").read_text() == "a = 2\n"
    assert (project / "sub/new.py").read_text() == "b = 3\n"


def test_a_mode_that_changed_is_a_difference(project: Path, tmp_path: Path) -> None:
    commit(tmp_path)
    (project / "train.py").chmod(0o755)
    assert resolve({"folder": str(project)}).dirty


def test_line_endings_are_as_the_repository_says(project: Path, tmp_path: Path) -> None:
    (tmp_path / ".gitattributes").write_text("*.py text=auto\n")
    commit(tmp_path)
    (project / "train.py").write_bytes(b"a = 1\r\n")
    assert not resolve({"folder": str(project)}).dirty


def test_no_repository(project: Path, tmp_path: Path) -> None:
    assert resolve({"folder": str(project)}).commit is None  # nothing committed yet
    (tmp_path / "other.txt").write_text("1")
    porcelain.add(tmp_path, paths=[str(tmp_path / "other.txt")])
    identity = b"A <a@example.com>"
    porcelain.commit(tmp_path, message=b"x", author=identity, committer=identity)
    assert resolve({"folder": str(project)}).commit is None  # in somebody's repository, but no part of it


def test_a_linked_work_tree(project: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    head = commit(tmp_path)
    linked = tmp_path_factory.mktemp("linked") / "tree"
    subprocess.run(["git", "worktree", "add", "-q", str(linked)], cwd=tmp_path, check=True)
    (linked / "models/wine/train.py").write_text("a = 2\n")
    source = resolve({"folder": str(linked / "models/wine")})
    assert source.commit == head
    assert source.dirty
    with Repo(str(tmp_path)) as repo:
        assert repo.head().decode() == head
