"""Where a project's code comes from: a folder, or a Git repository at a ref; told by commit, kept as one tar.

    source = resolve(project, ref, credentials)     the commit, once, at the start of a run
    checkout(source, folder) -> source              its files, and when they were committed
    keep(source, folder, artifacts) -> KeptCode     those, and their difference to the commit, into the store
    tree_tar(folder, file) -> digest                the files as one deterministic tar
    unpack_tree(file, folder)                       and back

Git is read by dulwich: no git binary is needed.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelyard.sources.keep import KeptCode, keep
from modelyard.sources.remote import Credentials, Repository
from modelyard.sources.source import Source
from modelyard.sources.tree import project_files, tree_hash, tree_tar, unpack_tree
from modelyard.sources.working_tree import read_folder

__all__ = ["Credentials", "KeptCode", "Source", "checkout", "keep", "resolve", "tree_hash", "tree_tar", "unpack_tree"]


def resolve(project: Mapping[str, Any], ref: str | None = None, credentials: Credentials | None = None) -> Source:
    """Return the commit a project is at, and whether its files differ from it.

    Args:
        project: ``{"folder": path}``, whose files count as they are, or ``{"git": url, "ref": ref, "subfolder": path}``
            with an https, http or file address.
        ref: instead of the project's own; branch, tag or commit, full or shortened; None is the repository's default.
        credentials: for a Git server that asks.

    Raises:
        RequestError: there is no such folder, repository or ref, or the credentials are refused.
        Unavailable: the repository cannot be reached.
    """
    if "folder" in project:
        return read_folder(Path(project["folder"]))
    repository = Repository(project["git"], credentials)
    commit = repository.resolve(ref or project.get("ref"))
    return Source(commit, dirty=False, diff=None, origin=repository, subfolder=project.get("subfolder") or "")


def checkout(source: Source, folder: Path) -> Source:
    """Write a project's files into ``folder``, which is made and must not exist yet.

    Of a local folder, what Git would ignore is left out, and Python's byte code.

    Returns:
        The source with its commit's time, which of a repository is not known before.

    Raises:
        RequestError: there is no such subfolder, or a file that is not safe to write.
        Unavailable: the repository cannot be reached.
    """
    folder.mkdir(parents=True)
    if isinstance(source.origin, Repository):
        committed_at = source.origin.checkout(source.commit or "", source.subfolder, folder)
        return replace(source, committed_at=committed_at)
    for name in project_files(source.origin):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source.origin / name, folder / name, follow_symlinks=False)
    return source
