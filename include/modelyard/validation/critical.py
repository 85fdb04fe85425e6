"""Critical predictions asked of a model: their answers must never change for the worse."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from modelyard.validation.gates import Gate
from modelyard.validation.predictions import CriticalPrediction
from modelyard.validation.scoring import Ask, ModelError

JSON = dict[str, Any]

_MOST_TOLD = 10


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
