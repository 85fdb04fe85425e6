"""What lies on this machine only to be quick, and is of no use any more: copies of what the image store has, and rests.

No reference counts here: what is wanted again is unpacked or packed anew. So it is enough that nobody has used a copy
for the time, and that nothing on this machine uses it now: no service that is or was live here, and no process, of
whatever model store.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from modelyard.deployment.state import read_state, service_folders
from modelyard.environments.workspace import left_over
from modelyard.garbage.sweep import Row, row_of
from modelyard.images import copies
from modelyard.images.paths import SHARED

IMAGES = "unpacked images, unused here"
ENVIRONMENTS = "unpacked environments, unused here"
LAYERS = "packed layers, sent or given up"
BUILDS = "folders of builds that were killed"

_PROCESSES = Path("/proc")


def rows_here(home: Path, before: datetime, delete: bool) -> Iterator[Row]:
    """Find, and when asked to delete, what is of no use below this machine's folder.

    Args:
        home: the folder; uv's cache in it is uv's own to clean.
        before: what was used since then stays.
        delete: False changes nothing.
    """
    used = _used(home)
    images = _left(home / "unpacked", before, used, delete)
    yield _row(IMAGES, images)
    # What stays unpacked has its environments beside it.
    for root in (home / "unpacked").glob("*/"):
        for kind in SHARED if root not in images else ():
            with suppress(OSError):  # of a compiled model there is no environment
                used += f"\n{(root / kind).readlink()}"
    yield _row(ENVIRONMENTS, _left(home / "environments", before, used, delete))
    yield _row(LAYERS, _packed(home / "cache" / "layers", before, delete))
    yield _row(BUILDS, _builds(home, delete))


def _left(parent: Path, before: datetime, used: str, delete: bool) -> dict[Path, int]:
    found = {folder: _size(folder) for folder in copies.unused(parent, before) if folder.name not in used}
    return {folder: size for folder, size in found.items() if not delete or copies.take_away(folder, before)}


def _packed(folder: Path, before: datetime, delete: bool) -> dict[Path, int]:
    found = {}
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):  # sent, or swept, by another process
            stat = path.stat()
            if stat.st_mtime < before.timestamp():
                found[path] = stat.st_size
                if delete:
                    path.unlink()
    return found


def _builds(home: Path, delete: bool) -> dict[Path, int]:
    found = {}
    for folder in left_over(home):
        found[folder] = _size(folder)
        if delete:
            shutil.rmtree(folder)
    return found


def _used(home: Path) -> str:
    """Return a text with the names of all folders that services and processes of this machine use."""
    states = (read_state(folder) for folder in service_folders(home))
    used = [state.live.root for state in states if state is not None and state.live is not None]
    for process in _PROCESSES.glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            used.append((process / "cmdline").read_bytes().decode(errors="replace"))
    return "\n".join(used)


def _size(folder: Path) -> int:
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # another one takes it away
                size += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - thousands of files
    return size


def _row(kind: str, found: dict[Path, int]) -> Row:
    return row_of(kind, {str(path): size for path, size in found.items()}, "nothing here uses it")
