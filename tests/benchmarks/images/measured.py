"""Seconds of a benchmark, by row of its table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

_WIDTH = 62


class Measured:
    """Seconds by row."""

    def __init__(self) -> None:
        self.rows: dict[str, list[float]] = {}

    @contextmanager
    def row(self, name: str) -> Iterator[None]:
        """Measure what is done meanwhile."""
        started = time.perf_counter()
        yield
        self.add(name, time.perf_counter() - started)

    def add(self, name: str, seconds: float) -> None:
        """Put down what was measured elsewhere."""
        self.rows.setdefault(name[:_WIDTH], []).append(seconds)

    def median(self, name: str) -> float:
        """The middle of a row; KeyError when nothing was measured."""
        return statistics.median(self.rows[name])

    def show(self) -> None:
        """Print the table."""
        print(f"{'seconds':{_WIDTH}}{'minimum':>9}{'median':>9}{'maximum':>9}")
        for name, seconds in self.rows.items():
            print(f"{name:{_WIDTH}}{min(seconds):9.3f}{statistics.median(seconds):9.3f}{max(seconds):9.3f}")
