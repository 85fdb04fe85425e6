"""A folder to build in, that nobody else on this machine uses at the time."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


def left_over(home: Path) -> Iterator[Path]:
    """Yield each folder that a killed process left; nobody else can have it until the next one is asked for."""
    for path in sorted((home / "cache" / "builds").glob("*.lock")):
        folder = path.with_suffix("")
        with path.open("rb") as lock, suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if folder.exists():
                yield folder


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
