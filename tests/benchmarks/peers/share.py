"""A part of a processor for each process of a server: then several can be busy, and wrk too, on a small machine."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

_CGROUPS = Path("/sys/fs/cgroup")
_PERIOD = 10_000  # microseconds in which a process may take its share


@contextmanager
def limited(processes: list[psutil.Process], share: float) -> Iterator[None]:
    """Have each process take no more than its share of a processor; it must have ended when this ends.

    Raises:
        RuntimeError: this machine does not let us.
    """
    first_version = (_CGROUPS / "cpu").is_dir()
    parent = _CGROUPS / "cpu" if first_version else _CGROUPS
    groups = [parent / f"bench-{uuid.uuid4().hex}" for _ in processes]
    try:
        try:
            for group, process in zip(groups, processes, strict=True):
                group.mkdir()
                if first_version:
                    (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
                    (group / "cpu.cfs_quota_us").write_text(str(int(_PERIOD * share)))
                else:
                    (group / "cpu.max").write_text(f"{int(_PERIOD * share)} {_PERIOD}")
                (group / "cgroup.procs").write_text(str(process.pid))
        except OSError as error:
            raise RuntimeError(f"a process cannot be given a part of a processor here: {error}") from error
        yield
    finally:
        for group in groups:
            if group.exists():
                group.rmdir()
