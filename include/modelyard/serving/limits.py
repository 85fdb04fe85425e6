"""How many processors this process may use: a container's limit is not what the machine has."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP_2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_1 = (Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us"))


def processors() -> int:
    """Return how many threads can work at once: of the machine's processors those that this process may use."""
    allowed = len(os.sched_getaffinity(0))
    quota = _quota()
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def _quota() -> float | None:
    try:
        limit, period = _CGROUP_2.read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        pass
    try:
        limit, period = (path.read_text() for path in _CGROUP_1)
        return int(limit) / int(period) if int(limit) > 0 else None
    except (OSError, ValueError):
        return None
