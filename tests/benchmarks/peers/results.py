"""What was found of one model."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from tests.benchmarks.peers.measuring import Figures, Load


class Cell(NamedTuple):
    """One way of asking: so many rows a request, by so many connections."""

    rows: int
    connections: int


class Results:
    """All figures of one model, by the name of what served it.

    Attributes:
        alone: milliseconds of the model's own predict of one row, in a process of its own.
        left_out: what could not be measured, and why.
    """

    def __init__(self, model: str, compiled: bool) -> None:
        self.model = model
        self.compiled = compiled
        self.alone = Figures()
        self.left_out: dict[str, str] = {}
        self._ready: dict[str, Figures] = defaultdict(Figures)
        self._memory: dict[str, Figures] = defaultdict(Figures)
        self._loads: dict[Cell, dict[str, list[Load]]] = defaultdict(lambda: defaultdict(list))

    @property
    def cells(self) -> list[Cell]:
        """Every way of asking that was measured."""
        return sorted(self._loads)

    @property
    def servers(self) -> list[str]:
        """Everything that has served."""
        return list(self._memory)

    def ready(self, name: str) -> Figures:
        """Seconds from the start of the process until it answered that it is ready."""
        return self._ready[name]

    def memory(self, name: str) -> Figures:
        """Megabytes after the load."""
        return self._memory[name]

    def loads(self, name: str, cell: Cell) -> list[Load]:
        """A load a round."""
        return self._loads[cell][name]

    def asked(self, cell: Cell) -> list[str]:
        """What was measured in this way of asking."""
        return [name for name, loads in self._loads[cell].items() if loads]

    def rate(self, name: str, cell: Cell) -> Figures:
        """Answers in a second."""
        return Figures([load.rate for load in self._loads[cell][name]])

    def p50(self, name: str, cell: Cell) -> Figures:
        """Milliseconds in which half of the requests were answered."""
        return Figures([load.p50 for load in self._loads[cell][name]])

    def p99(self, name: str, cell: Cell) -> Figures:
        """Milliseconds in which 99 of 100 requests were answered."""
        return Figures([load.p99 for load in self._loads[cell][name]])

    def processor(self, name: str, cell: Cell) -> Figures:
        """Milliseconds of a processor for each request."""
        return Figures([load.processor for load in self._loads[cell][name]])
