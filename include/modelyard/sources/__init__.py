"""Where a project's code comes from: a folder, or a Git repository at a ref; told by commit, kept as one tar.

    resolve(source, ref, credentials) -> Source       the commit, once, at the start of a run
    checkout(url, commit, folder, …)                  that commit's files
    write_tree(folder, file) -> digest                the project's files as one deterministic tar
    unpack_tree(file, folder)                         and back

Git is read by dulwich: no git binary is needed.
"""

from __future__ import annotations

from pathlib import Path

from modelyard.sources.remote import Credentials, checkout, resolve_ref
from modelyard.sources.tree import project_files, tree_hash, unpack_tree, write_tree
from modelyard.sources.working_tree import Source, read_folder

__all__ = [
    "Credentials",
    "Source",
    "checkout",
    "project_files",
    "resolve",
    "tree_hash",
    "unpack_tree",
    "write_tree",
]


def resolve(source: Path | str, ref: str | None = None, credentials: Credentials | None = None) -> Source:
    """Return the commit a project is at, and whether its files differ from it.

    Args:
        source: a local folder (``Path``), whose files count as they are, or a Git URL (``str``).
        ref: of a URL: branch, tag or commit, full or shortened; None is the repository's default branch.
        credentials: of a URL that asks for them.

    Raises:
        RequestError: there is no such repository or ref, or the credentials are refused.
        Unavailable: the repository cannot be reached.
    """
    if isinstance(source, Path):
        return read_folder(source)
    return Source(resolve_ref(source, ref, credentials), dirty=False, diff=None)
