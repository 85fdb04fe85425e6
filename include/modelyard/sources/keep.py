"""A project's code on its way into the store: from there every later step, and every later release, has it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.sources.source import Source
from modelyard.sources.tree import tree_tar

if TYPE_CHECKING:
    from modelyard.store.artifacts import Artifacts


@dataclass(frozen=True)
class KeptCode:
    """What the store has of a project's code.

    Attributes:
        tree_digest: of its files, as one tar.
        diff_digest: of their difference to the commit, as ``git diff`` shows it; None when there is none.
        commit, committed_at, dirty: as of a :class:`Source`.
    """

    tree_digest: str
    commit: str | None
    committed_at: datetime | None
    dirty: bool
    diff_digest: str | None


def keep(source: Source, files: Path, artifacts: Artifacts) -> KeptCode:
    """Put a project's files and their difference to the commit into the store; the same again is no error.

    Args:
        source: as ``checkout`` returned it.
        files: the folder it was checked out to.
        artifacts: the store's.

    Raises:
        RequestError: one of the files cannot be kept: a link out of the project, for example.
    """
    with tempfile.TemporaryDirectory(prefix="tree-", dir=files.parent) as folder:
        tar = Path(folder) / "project.tar"
        with tar.open("wb") as file:
            tree_tar(files, file)
        tree = artifacts.put_file(tar).digest
    diff = None if source.diff is None else artifacts.put_bytes(source.diff.encode(), "uncommitted.diff").digest
    return KeptCode(tree, source.commit, source.committed_at, source.dirty, diff)
