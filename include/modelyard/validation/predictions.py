"""A file of critical predictions, a JSON object a line: inputs whose answers must never change for the worse.

`check` and the steps read it here, so that they take and refuse the same; nothing else is loaded.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.errors import Problem, ProjectError

JSON = dict[str, Any]

_FORM = 'A line is: {"inputs": {"age": 3}, "expected": 41.5, "tolerance": 0.1}'


@dataclass(frozen=True)
class CriticalPrediction:
    """One line of the file.

    Attributes:
        line: 1-based.
        inputs: a row by column names, or a nested list for a model of a tensor.
        expected: the first output's value, or values by output name; lists are compared entry by entry.
        tolerance: how far a number may be off, absolute.
    """

    line: int
    inputs: JSON | list[Any]
    expected: Any
    tolerance: float = 0.0

    def request(self) -> JSON:
        """Return the request of this one row."""
        if isinstance(self.inputs, list):
            return {"tensor": {"data": [self.inputs], "shape": [1, *_shape(self.inputs)]}}
        return {"columns": {name: [value] for name, value in self.inputs.items()}}

    def found(self, outputs: JSON) -> Any:
        """Return the part of one row's outputs that ``expected`` is about."""
        if not isinstance(self.expected, dict):
            return next(iter(outputs.values()))[0]
        return {name: outputs[name][0] for name in self.expected if name in outputs}

    def met(self, found: Any) -> bool:
        """Return whether the answer is as expected."""
        return _alike(self.expected, found, self.tolerance)


def read(path: Path, name: str) -> list[CriticalPrediction]:
    """Read the file's predictions; blank lines do not count.

    Args:
        path: the file.
        name: of it, as it is told to people.

    Raises:
        ProjectError: it is not there, is empty, or with every line that is no prediction.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError([Problem(name, None, "", f"It cannot be read: {error}", _FORM)]) from error
    predictions, problems = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            wrong = _wrong(value)
        except json.JSONDecodeError as error:
            wrong = f"This is no JSON: {error.msg}."
        if wrong is not None:
            problems.append(Problem(name, number, "", wrong, _FORM))
        else:
            tolerance = float(value.get("tolerance", 0))
            predictions.append(CriticalPrediction(number, value["inputs"], value["expected"], tolerance))
    if not predictions and not problems:
        problems.append(Problem(name, None, "", "It holds no prediction.", f"Delete it, or fill it. {_FORM}"))
    if problems:
        raise ProjectError(problems)
    return predictions


def _wrong(value: Any) -> str | None:
    if not isinstance(value, dict) or not isinstance(value.get("inputs"), dict | list):
        return "It has no `inputs`, which are an object or a list."
    if "expected" not in value:
        return "It has no `expected`."
    tolerance = value.get("tolerance", 0)
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not tolerance >= 0:
        return f"`tolerance` is {tolerance!r}, and should be a number from 0 on."
    unknown = sorted(set(value) - {"inputs", "expected", "tolerance"})  # a misspelled tolerance would be none
    return f"It has the unknown key '{unknown[0]}'." if unknown else None


def _alike(expected: Any, found: Any, tolerance: float) -> bool:
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and expected.keys() == found.keys()
            and all(_alike(value, found[name], tolerance) for name, value in expected.items())
        )
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(expected) == len(found)
            and all(_alike(one, other, tolerance) for one, other in zip(expected, found, strict=True))
        )
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    if isinstance(expected, int | float) and isinstance(found, int | float):
        # A little more than asked for, since 41.6 - 41.5 is not 0.1 in binary.
        return bool(abs(expected - found) <= tolerance + 1e-12 * max(abs(expected), abs(found)))
    return bool(expected == found)


def _shape(values: Any) -> list[int]:
    shape = []
    while isinstance(values, list):
        shape.append(len(values))
        values = values[0] if values else None
    return shape
