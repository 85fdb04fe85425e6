"""A folder to build in, that nobody else on this machine uses at the time."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def workspace(home: Path, name: str) -> Iterator[Path]:
    """Give a folder's name beside uv's cache, so that files are linked, not copied; what is there is gone afterwards.

    Whoever else on this machine wants a folder of this name waits; what a killed process left in it is removed.
    """
    folder = home / "cache" / "builds" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            _remove(folder)
            yield folder
        finally:
            _remove(folder)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
