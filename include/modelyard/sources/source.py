"""What a project's code is, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from modelyard.sources.remote import Repository


@dataclass(frozen=True)
class Source:
    """A project's code at the start of a run.

    Attributes:
        commit: full hash; None when the folder is in no Git repository, or nothing of it was ever committed.
        dirty: the folder's files differ from the commit's.
        diff: that difference, as ``git diff`` shows it, new files included; None when there is none.
        origin: the local folder, or the repository.
        subfolder: the project's, within a repository.
        committed_at: when the commit was made; None without one, and of a repository before its files are checked out.
    """

    commit: str | None
    dirty: bool
    diff: str | None = field(repr=False)
    origin: Path | Repository
    subfolder: str = ""
    committed_at: datetime | None = None
