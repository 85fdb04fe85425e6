"""Against real repositories: files on disk, and Git's own server behind HTTP with a login."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from tests.git_server import git, serving_git

from modelyard.errors import RequestError, Unavailable
from modelyard.sources import Credentials, Source, checkout, resolve, tree_hash

LOGIN = Credentials("robot", "s3cr3t-token")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("git") / "models"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "wine").mkdir()
    (folder / "wine/train.py").write_text("version = 1\n")
    (folder / "wine/run.sh").write_text("#!/bin/sh\n")
    (folder / "wine/run.sh").chmod(0o755)
    (folder / "wine/link.py").symlink_to("train.py")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "1")
    git(folder, "tag", "-a", "v1", "-m", "first")
    git(folder, "tag", "light")
    git(folder, "branch", "moving")
    (folder / "wine/train.py").write_text("version = 2\n")
    git(folder, "commit", "-qam", "2")
    git(folder, "checkout", "-qb", "topic/x")
    (folder / "wine/train.py").write_text("version = 3\n")
    git(folder, "commit", "-qam", "3")
    git(folder, "checkout", "-q", "main")
    return folder


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[str]:
    with serving_git(repository.parent, LOGIN) as url:
        yield f"{url}/models/.git"


def resolve_url(url: str, ref: str | None = None, credentials: Credentials | None = LOGIN) -> Source:
    return resolve({"git": url, "ref": ref, "subfolder": "wine"}, credentials=credentials)


@pytest.fixture(params=["file", "http"])
def url(request: pytest.FixtureRequest, repository: Path, server: str) -> str:
    return server if request.param == "http" else repository.as_uri()


@pytest.mark.parametrize(
    ("ref", "commit"),
    [
        (None, "main"),
        ("main", "main"),
        ("topic/x", "topic/x"),
        ("refs/heads/topic/x", "topic/x"),
        ("v1", "main~1"),
        ("light", "main~1"),
    ],
)
def test_a_ref_is_one_commit(url: str, repository: Path, ref: str | None, commit: str) -> None:
    source = resolve_url(url, ref)
    assert source.commit == git(repository, "rev-parse", commit)
    assert not source.dirty


def test_a_commit_may_be_shortened(url: str, repository: Path) -> None:
    full = git(repository, "rev-parse", "main~1")
    assert resolve_url(url, full[:8]).commit == full
    assert resolve_url(url, full).commit == full


@pytest.mark.parametrize("ref", ["main~1", "main", "topic/x"])
def test_the_files_of_a_commit(url: str, repository: Path, tmp_path: Path, ref: str) -> None:
    source = checkout(resolve_url(url, git(repository, "rev-parse", ref)), tmp_path / "project")
    assert source.committed_at == datetime.fromisoformat(git(repository, "show", "-s", "--format=%cI", ref))
    assert sorted(path.name for path in (tmp_path / "project").iterdir()) == ["link.py", "run.sh", "train.py"]
    assert (tmp_path / "project/train.py").read_text() == git(repository, "show", f"{ref}:wine/train.py") + "\n"
    assert (tmp_path / "project/run.sh").stat().st_mode & 0o100
    assert (tmp_path / "project/link.py").readlink() == Path("train.py")


def test_a_clone_and_a_fetch_give_the_same_tree(server: str, repository: Path, tmp_path: Path) -> None:
    checkout(resolve_url(server, "main"), tmp_path / "fetched")
    checkout(resolve({"folder": str(repository / "wine")}), tmp_path / "copied")
    assert tree_hash(tmp_path / "fetched") == tree_hash(tmp_path / "copied")


def test_the_branch_may_move_after_it_was_resolved(server: str, repository: Path, tmp_path: Path) -> None:
    source = resolve_url(server, "moving")
    git(repository, "branch", "-f", "moving", "main")
    checkout(source, tmp_path / "project")
    assert (tmp_path / "project/train.py").read_text() == "version = 1\n"


def test_a_commit_that_no_branch_has_any_more_is_told(url: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="has no commit 1234"):
        checkout(resolve_url(url, "1234" * 10), tmp_path / "project")


def test_no_such_ref_names_those_there_are(url: str) -> None:
    with pytest.raises(RequestError, match=r"no branch, tag or commit 'mian'(.|\n)*light, main, moving, topic/x, v1"):
        resolve_url(url, "mian")
    with pytest.raises(RequestError, match="no commit '1234567'"):
        resolve_url(url, "1234567")


def test_no_such_subfolder(url: str, tmp_path: Path) -> None:
    source = resolve({"git": url, "subfolder": "beer"}, "main", LOGIN)
    with pytest.raises(RequestError, match="no folder 'beer'"):
        checkout(source, tmp_path / "project")


@pytest.mark.parametrize("credentials", [None, Credentials("robot", "wr0ng-token")])
def test_refused_credentials_are_told_and_not_repeated(server: str, credentials: Credentials | None) -> None:
    with pytest.raises(RequestError, match="asks for other credentials") as caught:
        resolve_url(server, "main", credentials)
    assert "wr0ng" not in str(caught.value)
    assert "wr0ng" not in repr(credentials)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(RequestError, match="holds a user or password") as caught:
        resolve_url("https://robot:hunter2@127.0.0.1/models.git", "main")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("address", ["git@example.com:models.git", "ssh://git@example.com/models.git", "models"])
def test_an_address_of_another_kind_is_refused(address: str) -> None:
    with pytest.raises(RequestError, match="no address Modelyard can fetch from"):
        resolve_url(address, "main")


def test_no_repository_there(server: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no Git repository"):
        resolve_url(server.replace("models", "others"), "main")
    with pytest.raises(RequestError, match="no Git repository"):
        resolve_url(tmp_path.as_uri(), "main")


def test_a_server_that_is_away_is_worth_another_try() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        resolve_url("http://127.0.0.1:9/models.git", "main")
