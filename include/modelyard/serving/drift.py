"""Input drift: how the values that come are spread over the bins that training's values were spread over.

The bins are training's own (``client/profile.py``): about as many of its values in each. Whoever reads the counters
compares their increase with training's shares, by whatever measure it likes (population stability, Kullback-Leibler).
A thousand rows a second are enough for that, and all that is looked at.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from modelyard.serving.board import Board, Words
from modelyard.serving.messages import JSON, Columns

_ROWS_A_SECOND = 1000
METRICS = (
    ("modelyard_input_values_total", "values of a feature that came, by the bins of its training values"),
    ("modelyard_training_share", "share of the training values in a bin"),
)


class Drift:
    """Counts the inputs of each feature that the profile describes.

    Args:
        profile: ``modelyard.json``'s: by feature ``input``, ``position`` in it (of a tensor), ``edges`` (upper edges of
            all bins but the last) or ``values``, and ``counts``: of training's rows in each bin, then of the rest, then
            of missing ones.
    """

    def __init__(self, profile: JSON, board: Board) -> None:
        self._features = [_Feature(name, described, board) for name, described in profile.items()]
        self._second = 0
        self._left = 0

    def observe(self, columns: Columns, rows: int) -> None:
        """Count checked rows, the first of them when there are too many."""
        if not self._features:
            return
        if (second := int(time.monotonic())) != self._second:
            self._second, self._left = second, _ROWS_A_SECOND
        if self._left <= 0:
            return
        taken = min(rows, self._left)
        self._left -= taken
        for feature in self._features:
            counted, place = feature.words.mine, feature.place
            values = columns[feature.input][:taken]
            for value in values if feature.position is None else [row[feature.position] for row in values]:
                counted[place(value)] += 1

    def lines(self) -> list[tuple[dict[str, str], int, float]]:
        """Return a bin's labels, how many values came into it, and its share of training's."""
        return [
            (
                {"feature": feature.name, "bin": label},
                feature.words.total(place),
                round(count / (sum(feature.training) or 1), 6),
            )
            for feature in self._features
            for place, (label, count) in enumerate(zip(feature.labels, feature.training, strict=True))
        ]


class _Feature:
    def __init__(self, name: str, described: JSON, board: Board) -> None:
        self.name = name
        self.input: str = described["input"]
        self.position: int | None = described.get("position")
        self.training: list[int] = described["counts"]
        self.place: Callable[[Any], int]
        if "edges" in described:
            edges: list[float] = described["edges"]
            self.labels = [*(f"<={edge}" for edge in edges), f">{edges[-1]}" if edges else "any", "missing"]
            self.place = _among_edges(edges)
        else:
            values: list[Any] = described["values"]
            self.labels = [*(f"={value}" for value in values), "other", "missing"]
            self.place = _among_values(values)
        self.words: Words = board.take(len(self.labels))


def _among_edges(edges: list[float]) -> Callable[[Any], int]:
    missing = len(edges) + 1

    def place(value: Any) -> int:
        return missing if value is None else bisect_left(edges, value)

    return place


def _among_values(values: list[Any]) -> Callable[[Any], int]:
    places = {value: place for place, value in enumerate(values)}
    other = len(values)

    def place(value: Any) -> int:
        return other + 1 if value is None else places.get(value, other)

    return place
