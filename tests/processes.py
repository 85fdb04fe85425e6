"""What runs below a process, read from /proc: whoever kills one wants to know that nothing of it stays."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Running:
    """A process; its start time tells it from a later one with the same number.

    Attributes:
        command: its arguments, joined by spaces.
        started: in ticks since the machine's start.
    """

    pid: int
    command: str
    started: str

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        fields = _stat(self.pid)
        return fields is not None and fields[0] != "Z" and fields[19] == self.started


def below(pid: int) -> list[Running]:
    """Return all that a process has started, and what those have."""
    found = []
    for task in _texts(Path(f"/proc/{pid}/task"), "*/children"):
        for child in map(int, task.split()):
            fields = _stat(child)
            if fields is not None:
                command = " ".join(_texts(Path(f"/proc/{child}"), "cmdline")).replace("\0", " ").strip()
                found.append(Running(child, command, fields[19]))
            found += below(child)
    return found


def wait_until(condition: Callable[[], object], what: str, seconds: float = 120.0) -> None:
    """Wait until something holds; fail with ``what`` when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.005)


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat after the command's name: state first."""
    text = next(iter(_texts(Path(f"/proc/{pid}"), "stat")), None)
    return None if text is None else text.rpartition(")")[2].split()


def _texts(folder: Path, pattern: str) -> list[str]:
    texts = []
    for path in folder.glob(pattern):
        try:
            texts.append(path.read_text(errors="replace"))
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            continue
    return texts
