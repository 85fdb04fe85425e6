"""Processes that outlive whoever started them: a session each, known by its leader's id and start time.

Standard library only. The kernel gives a session's id to no other process as long as a member lives, so that ending a
session never hits a stranger, and finds what its leader left behind.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from modelyard.errors import Unavailable

_KILL_SECONDS = 10.0


@dataclass(frozen=True)
class Session:
    """A session by its leader.

    Attributes:
        pid: of the leader, and the id of the session.
        started: when the leader was started, in the kernel's ticks; tells it from a later process of the same id.
    """

    pid: int
    started: str

    @classmethod
    def of(cls, process: subprocess.Popen[bytes]) -> Session:
        """Return the session of a process that was started just now."""
        return cls(process.pid, start_time(process.pid) or "over")

    @property
    def alive(self) -> bool:
        """Whether its leader still runs."""
        return start_time(self.pid) == self.started

    def end(self, grace: float) -> bool:
        """End every process of it: asked first, killed after ``grace`` seconds; return whether there was one.

        Raises:
            Unavailable: one of them can't be killed.
        """
        if not self._members():
            return False
        for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, _KILL_SECONDS)):
            for pid in self._members():
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                if not self._members():
                    with suppress(ChildProcessError):  # it is another process's child
                        os.waitpid(self.pid, 0)
                    return True
                time.sleep(0.02)
        raise Unavailable(f"Processes {self._members()} do not end", "end them by hand")

    def _members(self) -> list[int]:
        leader = start_time(self.pid)
        if leader not in (None, self.started):
            return []  # the id was given to another process, so nobody was left
        return [pid for pid, session in _sessions() if session == self.pid and start_time(pid) is not None]


def spawn(command: Sequence[str], log: Path, folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, its output appended to ``log``."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=dict(environment),
            start_new_session=True,
        )


def start_time(pid: int) -> str | None:
    """Return when a process was started, in the kernel's ticks; None when there is none, or only its exit code."""
    stat = _stat(pid)
    if stat is None:
        return None
    state, threads, started = stat[0], int(stat[17]), stat[19]
    over = state in "ZX" and threads <= 1  # the first thread may be over while others still write
    return None if over else started


def free_port(*preferred: int) -> int:
    """Return the first of these ports of 127.0.0.1 that nobody has, or else any that is free."""
    for port in (*preferred, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                listener.bind(("127.0.0.1", port))
                found: int = listener.getsockname()[1]
                return found
    raise Unavailable("No port of 127.0.0.1 is free", "end what listens there")


def last_line(log: Path) -> str:
    """Return the last line a process wrote, for the message that tells of its end."""
    return next((line for line in reversed(log.read_text(errors="replace").splitlines()) if line.strip()), "no output")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder of a background process for oneself: of two that start it at once, one waits."""
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    draft = file.with_name(f"{file.name}.new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:  # noqa: PTH123
        handle.write(text)
    draft.replace(file)


def _sessions() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (stat := _stat(int(entry.name))) is not None:
            yield int(entry.name), int(stat[3])


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from ``state`` on."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()  # the name before it may hold spaces and parentheses
