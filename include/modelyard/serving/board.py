"""What the processes of one server know of each other: shared memory, with words of its own for each process.

Each process writes its own words and no other's, so that nothing is locked; all may read all. It outlives a process
that is killed: the next one with its number counts on.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_BYTES = 4 << 20  # for each process; what is never written to takes no memory
_WORD = 8
_PID, _LOADED, _TAKING, _CONNECTIONS = range(4)
_WANTED, _ALL_LOADED, _RESTARTS = range(3)
CHANGED = signal.SIGUSR1  # tells a process that `wanted` is another now


@dataclass(frozen=True)
class Words:
    """Some words of each process; ``mine`` are this process's own."""

    mine: memoryview[int]
    each: tuple[memoryview[int], ...]

    def total(self, place: int) -> int:
        """Return the sum over all processes."""
        return sum(words[place] for words in self.each)


class Board:
    """Made before the processes are; each says ``become`` when it is one.

    Attributes:
        processes: how many there are.
        number: which one this is, from 0.
    """

    def __init__(self, processes: int = 1) -> None:
        self.processes = processes
        self.number = 0
        self._file = os.memfd_create("modelyard-board", os.MFD_CLOEXEC)
        size = (processes + 1) * _BYTES
        os.ftruncate(self._file, size)
        self._memory = memoryview(mmap.mmap(self._file, size))
        self._taken = 0
        self._facts = self.take(4)
        self._common = self._memory[processes * _BYTES :][: 3 * _WORD].cast("q")

    def become(self, number: int) -> None:
        """Go on as this process, which is not loaded and has no connections yet."""
        self.number = number
        self._taken = 0
        self._facts = self.take(4)
        for place, value in ((_LOADED, 0), (_TAKING, 0), (_CONNECTIONS, 0), (_PID, os.getpid())):
            self._facts.mine[place] = value

    def take(self, count: int) -> Words:
        """Return the next words of every process; all processes must take the same in the same order."""
        begin, self._taken = self._taken, self._taken + count * _WORD
        if self._taken > _BYTES:
            raise ValueError(f"the processes share {_BYTES} bytes each, {self._taken} are asked for")
        each = tuple(
            self._memory[process * _BYTES + begin : process * _BYTES + self._taken].cast("q")
            for process in range(self.processes)
        )
        return Words(each[self.number], each)

    def gone(self, number: int) -> None:
        """Note that a process has ended."""
        for place in (_PID, _LOADED, _TAKING, _CONNECTIONS):
            self._facts.each[number][place] = 0

    def loaded(self) -> None:
        """Note that this process can answer."""
        self._facts.mine[_LOADED] = 1
        if all(words[_LOADED] for words in self._facts.each):
            self._common[_ALL_LOADED] = 1

    @property
    def all_loaded(self) -> bool:
        """All could answer at once, now or earlier: while one is started again, the others do."""
        return bool(self._common[_ALL_LOADED])

    @property
    def restarts(self) -> int:
        """How many processes were started again."""
        return self._common[_RESTARTS]

    def restarted(self) -> None:
        """Count one that is started again; only whoever starts them may."""
        self._common[_RESTARTS] += 1

    @property
    def wanted(self) -> bool:
        """All processes shall take connections."""
        return bool(self._common[_WANTED])

    @wanted.setter
    def wanted(self, value: bool) -> None:
        """Tell all others too."""
        self._common[_WANTED] = value
        for words in self._facts.each:
            if words[_PID] not in (0, os.getpid()):
                try:
                    os.kill(words[_PID], CHANGED)
                except ProcessLookupError:
                    continue  # it has ended just now

    def taking(self, value: bool) -> None:
        """Note whether this process takes connections."""
        self._facts.mine[_TAKING] = value

    @property
    def all_do(self) -> bool:
        """Every process does what is wanted; one that still loads takes connections later."""
        if self.wanted:
            return all(words[_TAKING] for words in self._facts.each if words[_LOADED])
        return not any(words[_TAKING] for words in self._facts.each)

    def connected(self, change: int) -> None:
        """Count a connection of this process that was opened (1) or closed (-1)."""
        self._facts.mine[_CONNECTIONS] += change

    @property
    def connections(self) -> int:
        """Open connections of this process."""
        return self._facts.mine[_CONNECTIONS]

    @property
    def all_connections(self) -> int:
        """Open connections of all processes."""
        return self._facts.total(_CONNECTIONS)

    @property
    def fewest(self) -> int:
        """Open connections of the process that has the fewest among those that take some."""
        return min((words[_CONNECTIONS] for words in self._facts.each if words[_TAKING]), default=0)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have no other process in this same place; one that is killed in it lets the next one in."""
        if self.processes == 1:
            yield
            return
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)
