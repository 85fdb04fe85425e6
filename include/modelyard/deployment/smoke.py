"""The smoke test: a service answers the golden rows as the model did at training, and says that it is the right one."""

from __future__ import annotations

import http.client
import json
import math
from collections.abc import Mapping
from email.message import Message
from typing import Any

from modelyard.deployment.target import JSON

# Of floats: another thread count or instruction set may sum in another order, and a compiled model may sum in 32 bits,
# where a small answer is off by as much as the large ones. Text and integers must be equal.
_RELATIVE, _OF_LARGEST, _ABSOLUTE = 1e-6, 1e-5, 1e-9
# By it the service's prediction log knows that this is no prediction for anybody.
HEADERS = {"x-request-id": "modelyard-smoke"}
CONTENT = {"content-type": "application/json"}
TOLERANCE = "a hundred-thousandth of the largest answer"


class SmokeError(Exception):
    """What the service answered, and what it should have."""


def smoke_test(
    connection: http.client.HTTPConnection, version: int, image_digest: str, golden: JSON, token: str = ""
) -> None:
    """Ask for a prediction of the golden rows and compare; without golden rows, only for readiness.

    Args:
        connection: to the service; it is closed in the end.
        version: that must have answered.
        image_digest: of its image.
        golden: rows and answers.
        token: for a service that asks for one.

    Raises:
        SmokeError: another answer, another version, or none.
    """
    method, path, body = question(golden)
    try:
        text = None if body is None else json.dumps(body)
        headers = HEADERS if body is None else CONTENT | HEADERS
        connection.request(method, path, text, headers | ({"authorization": f"Bearer {token}"} if token else {}))
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
    status: int,
    headers: Mapping[str, str] | Message,
    body: bytes,
    version: int,
    image_digest: str,
    golden: JSON,
    *,
    refused: bool = False,
) -> None:
    """Compare a service's answer to :func:`question`.

    Args:
        status: of the answer.
        headers: of the answer.
        body: of the answer.
        version: that must have answered.
        image_digest: of its image.
        golden: rows and answers.
        refused: the question came without a token, to a service that asks for one: its refusal is the right answer.

    Raises:
        SmokeError: it is not what this version has to answer.
    """
    if status != (401 if refused else 200):
        raise SmokeError(f"status {status}: {body[:500].decode(errors='replace')}")
    for header, expected in (("Modelyard-Model-Version", str(version)), ("Modelyard-Image-Digest", image_digest)):
        if (found := headers.get(header)) != expected:
            raise SmokeError(f"{header} is {found}, expected {expected}")
    if golden.get("inputs") and not refused:
        _compare(json.loads(body)["predictions"], golden["outputs"])


def _compare(predictions: list[JSON], outputs: JSON) -> None:
    for name, expected in outputs.items():
        scale = largest(expected)
        for number, (prediction, value) in enumerate(zip(predictions, expected, strict=True)):
            if name not in prediction or not same(value, prediction[name], scale):
                found = json.dumps(prediction.get(name))
                raise SmokeError(f"row {number}, {name}: {found}, at training it was {json.dumps(value)}")


def largest(values: Any) -> float:
    """Return the largest of an output's numbers, without sign; 0 where it has none."""
    if isinstance(values, list):
        return max(map(largest, values), default=0.0)
    return abs(values) if isinstance(values, float) and math.isfinite(values) else 0.0


def same(expected: Any, found: Any, scale: float = 0.0) -> bool:
    """Return whether two values are equal; floats within rounding; NaN is null, since JSON has none.

    Args:
        expected: what the model answered.
        found: what is held against it.
        scale: the largest answer of this output.
    """
    if isinstance(expected, list):
        if not isinstance(found, list) or len(expected) != len(found):
            return False
        return all(same(one, other, scale) for one, other in zip(expected, found, strict=True))
    if isinstance(expected, float) and math.isnan(expected):
        return found is None
    if isinstance(expected, float) and isinstance(found, int | float) and not isinstance(found, bool):
        return math.isclose(expected, found, rel_tol=_RELATIVE, abs_tol=max(_ABSOLUTE, _OF_LARGEST * scale))
    return type(expected) is type(found) and bool(expected == found)
