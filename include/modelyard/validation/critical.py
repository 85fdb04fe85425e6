"""Critical predictions: a file of inputs whose answers must never change for the worse."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelyard.errors import Problem, ProjectError
from modelyard.validation.gates import Gate
from modelyard.validation.scoring import Ask, ModelError

JSON = dict[str, Any]

_MOST_TOLD = 10
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


@dataclass(frozen=True)
class CriticalResult:
    """What became of one critical prediction."""

    line: int
    inputs: Any
    expected: Any
    tolerance: float
    found: Any
    passed: bool
    why: str = ""

    def to_json(self) -> JSON:
        """Return it as plain JSON."""
        return asdict(self)


def read(path: Path, name: str) -> list[CriticalPrediction]:
    """Read the file's predictions; blank lines do not count.

    Args:
        path: the file.
        name: of it, as it is told to people.

    Raises:
        ProjectError: it is not there, is empty, or a line is no prediction.
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
            inputs, expected, tolerance = value["inputs"], value["expected"], value.get("tolerance", 0.0)
            if not isinstance(inputs, dict | list) or isinstance(tolerance, bool) or not tolerance >= 0:
                raise ValueError("`inputs` is a row, `tolerance` a number from 0 on")
        except KeyError as error:
            problems.append(Problem(name, number, "", f"It has no {error}.", _FORM))
        except (ValueError, TypeError, AttributeError) as error:
            problems.append(Problem(name, number, "", f"It is no prediction: {error}.", _FORM))
        else:
            predictions.append(CriticalPrediction(number, inputs, expected, float(tolerance)))
    if not predictions and not problems:
        problems.append(Problem(name, None, "", "It holds no prediction.", f"Delete it, or fill it. {_FORM}"))
    if problems:
        raise ProjectError(problems)
    return predictions


def replay(predictions: Sequence[CriticalPrediction], ask: Ask) -> list[CriticalResult]:
    """Ask the model for each prediction, one row at a time, as a service is asked."""
    results = []
    for prediction in predictions:
        found, passed, why = None, False, ""
        try:
            found = prediction.found(ask(prediction.request()))
            passed = prediction.met(found)
        except ModelError as error:
            why = f"the model refuses these inputs: {error}"
        results.append(
            CriticalResult(
                prediction.line, prediction.inputs, prediction.expected, prediction.tolerance, found, passed, why
            )
        )
    return results


def gate(results: Sequence[CriticalResult], name: str) -> Gate:
    """Return the line of the table for all critical predictions of the file ``name``."""
    failed = [result for result in results if not result.passed]
    told = [_told(result, name) for result in failed[:_MOST_TOLD]]
    if len(failed) > _MOST_TOLD:
        told.append(f"… and {len(failed) - _MOST_TOLD} more, in the report")
    return Gate(
        "critical predictions",
        f"{len(results)} as expected",
        f"{len(results) - len(failed)} as expected",
        passed=not failed,
        why="\n".join(told),
    )


def _told(result: CriticalResult, name: str) -> str:
    if result.why:
        return f"{name}:{result.line}: {result.why}"
    within = f" within {result.tolerance:g}" if result.tolerance else ""
    expected, found = (json.dumps(value, ensure_ascii=False) for value in (result.expected, result.found))
    return f"{name}:{result.line}: expected {expected}{within}, found {found}"


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
