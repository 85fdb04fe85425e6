"""Whether another form of a model answers as the model itself does: all that it was asked, within the tolerance."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

from modelyard.compilation.transcript import Exchange
from modelyard.deployment.smoke import largest, same
from modelyard.validation.scoring import ModelError

JSON = dict[str, Any]

_LARGEST_OF_32_BITS = 3.4028235e38


def difference(transcript: Iterable[Exchange], ask: Callable[[JSON], JSON]) -> str:
    """Return the first difference, as a sentence that goes on after "it"; "" when there is none.

    It is none when a form of 32 bits refuses a number that is beyond them: whoever sent it gets no other answer.

    Args:
        transcript: what the model itself was asked and answered.
        ask: the other form; raises ModelError when it refuses.
    """
    scales: dict[str, float] = {}
    first = 0
    for exchange in transcript:
        try:
            found = ask(exchange.request)
        except ModelError as error:
            if not (_refused(exchange) or _largest(exchange.request) > _LARGEST_OF_32_BITS):
                return f"refuses what the model answers: {error}"
            continue
        if exchange.outputs is None or _refused(exchange):
            return f"answers what the model refuses: {_shown(exchange.request)}"
        for name, values in exchange.outputs.items():
            others = found.get(name)
            if not isinstance(others, list) or len(others) != len(values):
                return f"has another number of answers for '{name}'"
            # Of all answers so far: what is rounding of a large one is rounding of a small one, from the same sums.
            scale = scales[name] = max(scales.get(name, 0.0), largest(values))
            for row, (value, other) in enumerate(zip(values, others, strict=True), start=1):
                if not same(value, other, scale):
                    model, form = _shown(value), _shown(other)
                    return f"answers {name} {form} to row {first + row}, where the model answers {model}"
        first += len(next(iter(exchange.outputs.values())))
    return ""


def _refused(exchange: Exchange) -> bool:
    """Return whether no client gets this answer: there is none, or the server refuses it, as it is not finite."""
    return exchange.outputs is None or math.isinf(_largest(exchange.outputs))


def _largest(value: Any) -> float:
    """Return the largest of all numbers in a value, without sign; 0 where it has none."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return max(map(_largest, value), default=0.0)
    return abs(value) if isinstance(value, float) and value == value else 0.0


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:119]}…"
