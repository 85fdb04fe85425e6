"""What a repository made to do harm can do: nothing outside of the folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from dulwich.objects import Blob, Commit, ObjectID, Tree
from dulwich.repo import Repo

from modelyard.errors import RequestError
from modelyard.sources import checkout, resolve

FILE, LINK, FOLDER = 0o100644, 0o120000, 0o040000


class Malicious:
    """A repository with whatever tree."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repo = Repo.init(str(folder), mkdir=True)

    def blob(self, data: bytes) -> ObjectID:
        return self._add(Blob.from_string(data))

    def tree(self, *entries: tuple[bytes, int, ObjectID]) -> ObjectID:
        tree = Tree()
        content = [b"%o %s\0" % (mode, name) + bytes.fromhex(one.decode()) for name, mode, one in entries]
        tree.set_raw_string(b"".join(content))
        return self._add(tree)

    def commit(self, tree: ObjectID) -> str:
        commit = Commit()
        commit.tree = tree
        commit.author = commit.committer = b"A <a@example.com>"
        commit.author_time = commit.commit_time = commit.author_timezone = commit.commit_timezone = 0
        commit.message = b"x"
        self.repo.refs[b"refs/heads/main"] = self._add(commit)  # type: ignore[index]
        self.repo.close()
        return self.folder.as_uri()

    def _add(self, item: Blob | Tree | Commit) -> ObjectID:
        self.repo.object_store.add_object(item)
        return item.id


@pytest.fixture
def malicious(tmp_path: Path) -> Malicious:
    return Malicious(tmp_path / "repository")


@pytest.mark.parametrize("name", [b"..", b".git", b".GIT"])
def test_a_name_that_leads_elsewhere_is_refused(malicious: Malicious, tmp_path: Path, name: bytes) -> None:
    inner = malicious.tree((b"escaped", FILE, malicious.blob(b"x")))
    url = malicious.commit(malicious.tree((name, FOLDER, inner)))
    with pytest.raises(RequestError, match="not safe to write"):
        checkout(resolve({"git": url, "ref": "main"}), tmp_path / "out/project")
    assert not list(tmp_path.rglob("out/**/escaped"))


@pytest.mark.parametrize("link_first", [True, False])
@pytest.mark.parametrize("mode", [FILE, FOLDER])
def test_nothing_is_written_through_a_link(malicious: Malicious, tmp_path: Path, mode: int, link_first: bool) -> None:
    (tmp_path / "target").mkdir()
    data = malicious.blob(b"x")
    link = (b"a", LINK, malicious.blob(str(tmp_path / "target").encode()))
    other = (b"a", mode, data if mode == FILE else malicious.tree((b"escaped", FILE, data)))
    url = malicious.commit(malicious.tree(*((link, other) if link_first else (other, link))))
    checkout(resolve({"git": url, "ref": "main"}), tmp_path / "project")
    assert not any((tmp_path / "target").iterdir())
