"""How a model's training data are spread: what the server compares its inputs with.

By feature a few bins with about as many values in each, or its most frequent values, and how many rows fell into each.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from modelyard.client import inputs
from modelyard.client.plain import cells
from modelyard.client.signature import ExampleError

JSON = dict[str, Any]

_BINS = 10
_MOST_VALUES = 20
_RAREST = 0.01  # share of the rows; a value that is rarer is told apart from others by nobody, and may be a person's
_LONGEST_VALUE = 64
_MOST_FEATURES = 200
_INFINITE = (float("inf"), float("-inf"))  # JSON has no word for it, and the service takes none
_FEWEST_ROWS = 20  # of an example, to be worth a profile


def of(training: Any, example: Any, signature: JSON) -> JSON:
    """Return the profile: ``{feature: {"input", "position"?, "edges" or "values", "counts"}}``.

    Args:
        training: the rows the model learned from, of the example's kind; None when they are not given: then of the
            example, where it has at least twenty rows.
        example: as given to ``log_model``.
        signature: its ``inputs`` say what is a number and what a text.

    Raises:
        ExampleError: the training rows are no such rows as the example's.
    """
    given = training is not None
    rows = training if given else example
    if given:
        _same_kind(rows, example, signature)
    elif len(rows) < _FEWEST_ROWS:
        return {}
    return dict(_described(rows, signature))


def _same_kind(training: Any, example: Any, signature: JSON) -> None:
    if inputs.container(training) != inputs.container(example):
        raise ExampleError(
            f"training is a {type(training).__name__}, the example a {type(example).__name__}: give rows of one kind"
        )
    if signature["kind"] == "tensor":
        if inputs.array_of(training).shape[1:] != inputs.array_of(example).shape[1:]:
            raise ExampleError("the rows of training have another shape than the example's")
        return
    missing = [entry["name"] for entry in signature["inputs"] if entry["name"] not in inputs.columns_of(training)]
    if missing:
        raise ExampleError(f"training has no column {', '.join(missing)}, which the example has")


def _described(rows: Any, signature: JSON) -> Iterator[tuple[str, JSON]]:
    if signature["kind"] == "tensor":
        (entry,) = signature["inputs"]
        array = inputs.array_of(rows)
        if array.ndim != 2 or array.shape[1] > _MOST_FEATURES:
            return
        for position in range(array.shape[1]):
            if spread := _spread(cells(array[:, position]), entry):
                yield f"{entry['name']}[{position}]", {"input": entry["name"], "position": position, **spread}
        return
    columns = inputs.columns_of(rows)
    for entry in signature["inputs"][:_MOST_FEATURES]:
        if spread := _spread(cells(columns[entry["name"]]), entry):
            yield entry["name"], {"input": entry["name"], **spread}


def _spread(values: Sequence[Any], entry: JSON) -> JSON | None:
    """Return a feature's bins and counts; None for what has no bins: times, free text."""
    present = [value for value in values if value is not None and value not in _INFINITE]
    missing = len(values) - len(present)
    if not present or str(entry.get("dtype", "")).startswith("datetime64"):
        return None
    if entry["datatype"] not in {"BYTES", "BOOL"}:
        ordered = sorted(present)
        edges = sorted({ordered[len(ordered) * part // _BINS] for part in range(1, _BINS)} - {ordered[-1]})
        counts = [0] * (len(edges) + 1)
        for value in present:
            counts[bisect_left(edges, value)] += 1
        return {"edges": edges, "counts": [*counts, missing]}
    frequent = [
        (value, count)
        for value, count in Counter(present).most_common(_MOST_VALUES)
        if count >= _RAREST * len(values) and len(str(value)) <= _LONGEST_VALUE
    ]
    if not frequent:
        return None
    frequent.sort(key=lambda pair: str(pair[0]))
    counts = [count for _, count in frequent]
    return {"values": [value for value, _ in frequent], "counts": [*counts, len(present) - sum(counts), missing]}
