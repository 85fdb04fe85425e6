"""What a model was asked and what it answered, kept in a file: another form of it must answer alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.serving.datatypes import integer_range
from modelyard.validation.scoring import Ask, Model, ModelError

JSON = dict[str, Any]

# No text that a training could have seen, of a kind that a client may send.
_UNSEEN = "modelyard: a value never seen"
# By type the smallest number above zero, and one close to the largest.
_FRACTIONS = {"FP16": (6e-8, 6e4), "FP32": (1.4e-45, 3e38), "FP64": (5e-324, 1e300)}


@dataclass(frozen=True)
class Exchange:
    """One request and the model's outputs, None where the model refused it."""

    request: JSON
    outputs: JSON | None


class Transcript:
    """Exchanges in the order they took place; iterate over it for all of them so far."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows = 0

    def of(self, ask: Ask) -> Ask:
        """Return ``ask``, noting down what it is asked and what it answers."""

        def noted(request: JSON) -> JSON:
            outputs = None
            try:
                outputs = ask(request)
            finally:
                with self._path.open("a") as file:
                    file.write(json.dumps([request, outputs]) + "\n")
                self.rows += _rows(request)
            return outputs

        return noted

    def __iter__(self) -> Iterator[Exchange]:
        if not self._path.exists():
            return
        with self._path.open() as file:
            for line in file:
                yield Exchange(*json.loads(line))


def ask_golden(model: Model, golden: JSON) -> None:
    """Ask a model for its golden rows, and for what a client may send besides.

    That is a row with a missing value in each column that may have one, one with a text never seen in each column of
    text, and rows with the smallest and the largest numbers in each column of numbers, or first in a tensor: what a
    model does with these is easily lost in another form of it, and other rows need not show it.
    """
    request = _request(model.signature, golden["inputs"])
    for question in [request, *_unusual(request, model.signature)]:
        try:
            model.ask(question)
        except ModelError:
            continue  # it refuses this, and so must its other form: the transcript has it


def _unusual(request: JSON, signature: JSON) -> Iterator[JSON]:
    if "tensor" in request:
        row, shape = request["tensor"]["data"][0], request["tensor"]["shape"]
        for value in _extremes(signature["inputs"][0]["datatype"]):
            yield {"tensor": {"data": [_with_first(row, value)], "shape": [1, *shape[1:]]}}
        return
    first = {name: values[:1] for name, values in request["columns"].items()}
    for field in signature["inputs"]:
        if field.get("nullable"):
            yield {"columns": {**first, field["name"]: [None]}}
        if field["datatype"] == "BYTES":
            yield {"columns": {**first, field["name"]: [_UNSEEN]}}
    extremes = [
        (value, field["name"])
        for field in signature["inputs"]
        if len(field["shape"]) == 1 and not field.get("categories")
        for value in _extremes(field["datatype"])
    ]
    # The largest last: rounding of the answers before them is none of theirs.
    for value, name in sorted(extremes, key=lambda extreme: abs(extreme[0])):
        yield {"columns": {**first, name: [value]}}


def _extremes(datatype: str) -> tuple[float, ...]:
    if datatype in _FRACTIONS:
        least, most = _FRACTIONS[datatype]
        return least, most, -most
    return integer_range(datatype) if "INT" in datatype else ()


def _with_first(row: Any, value: float) -> Any:
    return [_with_first(row[0], value), *row[1:]] if isinstance(row, list) else value


def _request(signature: JSON, rows: list[Any]) -> JSON:
    if signature["kind"] == "tensor":
        return {"tensor": {"data": rows, "shape": [len(rows), *_shape(rows[0])]}}
    return {"columns": {field["name"]: [row[field["name"]] for row in rows] for field in signature["inputs"]}}


def _shape(value: Any) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _rows(request: JSON) -> int:
    if "tensor" in request:
        return len(request["tensor"]["data"])
    return len(next(iter(request["columns"].values()), []))
