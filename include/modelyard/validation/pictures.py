"""What the report draws: counts and points chosen here, shapes computed for inline SVG, no library, no script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from modelyard.validation.metrics import Answers

JSON = dict[str, Any]

_MOST_LABELS = 20
_MOST_POINTS = 400
_SIDE = 320.0


def confusion(answers: Answers) -> JSON | None:
    """Return how often each label was taken for each: ``{"labels": […], "counts": [[…], …]}``, a row per true label.

    None when there are more labels than a page can show.
    """
    pairs = Counter(zip(map(_label, answers.truth), map(_label, answers.prediction), strict=True))
    known = [_label(value) for value in answers.classes or ()]
    labels = list(dict.fromkeys([*known, *sorted({label for pair in pairs for label in pair})]))
    if len(labels) > _MOST_LABELS:
        return None
    return {"labels": labels, "counts": [[pairs[true, found] for found in labels] for true in labels]}


def _label(value: Any) -> str:
    # A file's 1.0 is the model's 1; True is not.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def sample(answers: Answers) -> list[tuple[float, float]]:
    """Return ``(true, predicted)`` of rows spread evenly over the data set: the same ones for the same data."""
    pairs = [
        (float(true), float(found))
        for true, found in zip(answers.truth, answers.prediction, strict=True)
        if isinstance(true, int | float) and isinstance(found, int | float)
    ]
    if len(pairs) <= _MOST_POINTS:
        return pairs
    return [pairs[number * len(pairs) // _MOST_POINTS] for number in range(_MOST_POINTS)]


def scatter(points: Sequence[Sequence[float]]) -> JSON | None:
    """Return predicted over true as positions in a square picture; None without points.

    ``{"side", "low", "high", "points": [[x, y], …]}``: a perfect model's points lie on the diagonal.
    """
    values = [value for point in points for value in point]
    if not values:
        return None
    low, high = min(values), max(values)
    span = (high - low) or 1.0

    def place(value: float) -> float:
        return round((value - low) / span * _SIDE, 1)

    placed = [[place(true), round(_SIDE - place(found), 1)] for true, found in points]
    return {"side": _SIDE, "low": low, "high": high, "points": placed}


def bars(candidate: float | None, production: float | None) -> JSON:
    """Return the lengths of two bars in percent, on one scale that starts at 0."""
    largest = max(abs(candidate or 0.0), abs(production or 0.0)) or 1.0
    return {
        "candidate": None if candidate is None else round(abs(candidate) / largest * 100, 1),
        "production": None if production is None else round(abs(production) / largest * 100, 1),
    }
