"""A request's body as JSON, whatever the contract."""

from __future__ import annotations

from typing import Any

import msgspec

from modelyard.serving.messages import JSON, Refused, Request
from modelyard.serving.signature import shown


def read_json(request: Request) -> Any:
    """Return the body's value; raises Refused: 415 when it says it is no JSON, 400 when it is none."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    # curl and HTML forms send JSON under their own default types: the body decides then.
    if not (kind.endswith("json") or kind in {"", "text/plain", "application/x-www-form-urlencoded"}):
        raise Refused(415, f"Content-Type is {kind!r}; this address takes application/json")
    try:
        return msgspec.json.decode(request.body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused(400, f"the body is no JSON: {error}") from error
    except RecursionError as error:
        raise Refused(400, "the body is nested too deeply") from error


def read_object(request: Request) -> JSON:
    """Return the body's object; raises Refused when it is anything else."""
    value = read_json(request)
    if type(value) is not dict:
        raise Refused(400, f"expected an object, found {shown(value)}")
    return value
