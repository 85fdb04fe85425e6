"""Folders of this machine that are filled once and used by many: copies of what the image store has, to be quick.

Whoever wants one takes its lock, marks it as used and finds it there, or fills it. Whoever takes one away looks at the
mark under the same lock: one of the two comes first, so nobody is given a folder that is about to go.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

_LOCK = ".lock"


def once(folder: Path, fill: Callable[[Path], None]) -> None:
    """Have ``folder`` there, whole, and marked as used now; ``fill`` is given the folder to write, when it is not."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder, fcntl.LOCK_EX) as lock:
        with suppress(PermissionError):  # another user's
            os.utime(lock)
        if not folder.exists():
            with appearing(folder) as partial:
                fill(partial)


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """Give a folder to fill that gets the name ``folder`` at the end; what a killed process left is removed first."""
    partial = _partial(folder)
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def unused(parent: Path, before: datetime) -> list[Path]:
    """List the folders of ``parent`` that :func:`once` has made and nobody has wanted since then."""
    found = []
    for lock in sorted(parent.glob(f"*{_LOCK}")):
        folder = lock.with_suffix("")
        there = folder.exists() or _partial(folder).exists()
        if there and lock.stat().st_mtime < before.timestamp():
            found.append(folder)
    return found


def take_away(folder: Path, before: datetime) -> bool:
    """Delete one of these, unless somebody has wanted it since then, or fills it; return whether it is gone."""
    with suppress(BlockingIOError), _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB) as lock:
        if os.fstat(lock).st_mtime < before.timestamp():
            partial = _partial(folder)
            if partial.exists():
                shutil.rmtree(partial)
            if folder.exists():
                folder.rename(partial)  # killed from here on, it leaves nothing that anybody would take for whole
                shutil.rmtree(partial)
            return True
    return False


def _partial(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.partial")


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[int]:
    # For reading, so that a folder of another user can be used too.
    lock = os.open(folder.with_name(f"{folder.name}{_LOCK}"), os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, how)
        yield lock
    finally:
        os.close(lock)
