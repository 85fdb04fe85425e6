"""A local folder: the commit it is at, and how its files differ from that."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path, PurePosixPath

from dulwich.object_store import iter_tree_contents
from dulwich.objects import Blob, Commit, ObjectID
from dulwich.patch import write_blob_diff
from dulwich.repo import Repo

from modelyard.errors import RequestError
from modelyard.sources.remote import committed_at
from modelyard.sources.source import Source
from modelyard.sources.tree import open_repository, project_files


def read_folder(folder: Path) -> Source:
    """Return the state of a project's folder; what else is in the repository around it does not count.

    Raises:
        RequestError: there is no such folder.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        raise RequestError(f"There is no folder {folder}.", "Name the folder that holds the project's model.yaml.")
    repo = open_repository(folder)
    if repo is None:
        return Source(None, dirty=False, diff=None, origin=folder)
    with repo:
        try:
            commit = repo[repo.head()]
        except KeyError:  # a repository without a commit
            return Source(None, dirty=False, diff=None, origin=folder)
        assert isinstance(commit, Commit)  # noqa: S101
        prefix = PurePosixPath(folder.relative_to(Path(repo.path).resolve()).as_posix())
        committed = _committed(repo, commit, prefix)
        if not committed:
            return Source(None, dirty=False, diff=None, origin=folder)
        diff = _difference(repo, folder, prefix, committed)
    return Source(
        commit.id.decode(), dirty=bool(diff), diff=diff or None, origin=folder, committed_at=committed_at(commit)
    )


Committed = dict[PurePosixPath, tuple[int, ObjectID]]


def _committed(repo: Repo, commit: Commit, prefix: PurePosixPath) -> Committed:
    """Return mode and blob of each of the folder's files in the commit, by path within the folder."""
    found: Committed = {}
    for entry in iter_tree_contents(repo.object_store, commit.tree):
        path = PurePosixPath(os.fsdecode(entry.path or b""))
        if path.is_relative_to(prefix) and entry.mode is not None and entry.sha is not None:
            found[path.relative_to(prefix)] = (entry.mode, entry.sha)
    return found


def _difference(repo: Repo, folder: Path, prefix: PurePosixPath, committed: Committed) -> str:
    text = io.BytesIO()
    normalizer = repo.get_blob_normalizer()  # line endings as .gitattributes and core.autocrlf say
    present = set(project_files(folder))
    for name in sorted(present | set(committed)):
        path = os.fsencode(str(prefix / name))
        old_mode, old_id = committed.get(name, (None, None))
        if old_mode is not None and stat.S_ISDIR(old_mode & 0o170000):
            continue
        old = None if old_id is None or old_mode is None or _is_submodule(old_mode) else repo.object_store[old_id]
        new = _blob(folder / name) if name in present else None
        if new is not None and (old is None or new.id != old.id):
            new = normalizer.checkin_normalize(new, path)
        new_mode = _mode(folder / name) if new is not None else None
        if (old and old.id, old_mode) == (new and new.id, new_mode):
            continue
        assert old is None or isinstance(old, Blob)  # noqa: S101
        write_blob_diff(text, (path if old else None, old_mode, old), (path if new else None, new_mode, new))
    return text.getvalue().decode(errors="replace")


def _is_submodule(mode: int) -> bool:
    return stat.S_IFMT(mode) == 0o160000


def _blob(path: Path) -> Blob:
    data = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
    return Blob.from_string(data)


def _mode(path: Path) -> int:
    if path.is_symlink():
        return 0o120000
    return 0o100755 if path.stat().st_mode & 0o100 else 0o100644
