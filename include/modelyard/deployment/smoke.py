"""The smoke test: a service answers the golden rows as the model did at training, and says that it is the right one."""

from __future__ import annotations

import http.client
import json
import math
from collections.abc import Mapping
from email.message import Message
from typing import Any

from modelyard.deployment.target import JSON

# Of floats: another thread count or instruction set may sum in another order. Text and integers must be equal.
_RELATIVE, _ABSOLUTE = 1e-6, 1e-9


class SmokeError(Exception):
    """What the service answered, and what it should have."""


def smoke_test(connection: http.client.HTTPConnection, version: int, image_digest: str, golden: JSON) -> None:
    """Ask for a prediction of the golden rows and compare; without golden rows, only for readiness.

    Raises:
        SmokeError: another answer, another version, or none.
    """
    method, path, body = question(golden)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {} if body is None else {"content-type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise SmokeError(f"no answer: {error or type(error).__name__}") from error
    finally:
        connection.close()
    check_answer(response.status, response.headers, answer, version, image_digest, golden)


def question(golden: JSON) -> tuple[str, str, JSON | None]:
    """Return method, path and body of what a service is asked."""
    rows = golden.get("inputs")
    return ("POST", "/predict", {"rows": rows}) if rows else ("GET", "/readyz", None)


def check_answer(
    status: int, headers: Mapping[str, str] | Message, body: bytes, version: int, image_digest: str, golden: JSON
) -> None:
    """Compare a service's answer to :func:`question`.

    Raises:
        SmokeError: it is not what this version has to answer.
    """
    if status != 200:
        raise SmokeError(f"status {status}: {body[:500].decode(errors='replace')}")
    for header, expected in (("Modelyard-Model-Version", str(version)), ("Modelyard-Image-Digest", image_digest)):
        if (found := headers.get(header)) != expected:
            raise SmokeError(f"{header} is {found}, expected {expected}")
    if golden.get("inputs"):
        _compare(json.loads(body)["predictions"], golden["outputs"])


def _compare(predictions: list[JSON], outputs: JSON) -> None:
    for name, expected in outputs.items():
        for number, (prediction, value) in enumerate(zip(predictions, expected, strict=True)):
            if name not in prediction or not same(value, prediction[name]):
                found = json.dumps(prediction.get(name))
                raise SmokeError(f"row {number}, {name}: {found}, at training it was {json.dumps(value)}")


def same(expected: Any, found: Any) -> bool:
    """Return whether two values are equal; floats within rounding; NaN is null, since JSON has none."""
    if isinstance(expected, list):
        return isinstance(found, list) and len(expected) == len(found) and all(map(same, expected, found))
    if isinstance(expected, float) and math.isnan(expected):
        return found is None
    if isinstance(expected, float) and isinstance(found, int | float) and not isinstance(found, bool):
        return math.isclose(expected, found, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    return type(expected) is type(found) and bool(expected == found)
