"""What this process may use, and what a request may: a container's limit is not what the machine has."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_CGROUP_2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_1 = (Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us"))


@dataclass(frozen=True)
class Limits:
    """What a request may take.

    Attributes:
        body_bytes: of its body; beyond that it gets 413.
        answer_seconds: for the model to answer; beyond that it gets 503.
    """

    body_bytes: int = 16 * 1024 * 1024
    answer_seconds: float = 60.0

    @property
    def held_bytes(self) -> int:
        """Of the bodies of all requests that a process has not answered yet; who sends more gets 503."""
        return 8 * self.body_bytes

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Limits:
        """Read ``MODELYARD_MOST_BODY_BYTES`` and ``MODELYARD_ANSWER_SECONDS``.

        Raises:
            ValueError: one is no number above zero.
        """
        body = _number(environment, "MODELYARD_MOST_BODY_BYTES", cls.body_bytes)
        return cls(int(body), _number(environment, "MODELYARD_ANSWER_SECONDS", cls.answer_seconds))


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise ValueError(f"{name} is {text!r}: give a number above zero")
    return value


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
