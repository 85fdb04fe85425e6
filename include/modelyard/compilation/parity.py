"""Whether another form of a model answers as the model itself does: all that it was asked, within the tolerance."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from modelyard.compilation.transcript import Exchange
from modelyard.deployment.smoke import largest, same
from modelyard.validation.scoring import ModelError

JSON = dict[str, Any]


def difference(transcript: Iterable[Exchange], ask: Callable[[JSON], JSON]) -> str:
    """Return the first difference, as a sentence that goes on after "it"; "" when there is none.

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
            if exchange.outputs is not None:
                return f"refuses what the model answers: {error}"
            continue
        if exchange.outputs is None:
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


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:119]}…"
