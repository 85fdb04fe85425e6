"""A request's body as JSON, whatever the contract.

Of a name that an object has twice the last value counts, as with most readers (RFC 8259, section 4, leaves it open):
the parser does not tell, and to look for it would cost every request.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from typing import Any

import msgspec

from modelyard.serving.messages import JSON, Refused, Request
from modelyard.serving.signature import shown

_decode = msgspec.json.Decoder().decode


def content_type(request: Request) -> tuple[str, dict[str, str]]:
    """Return the body's media type in lower case, "" when nothing is said, with its parameters.

    Raises:
        Refused: 415, the body is compressed, or its text is not in UTF-8.
    """
    kind, *parameters = request.headers.get("content-type", "").lower().split(";")
    given = {name.strip(): value.strip(' "') for name, _, value in (text.partition("=") for text in parameters)}
    if given.get("charset", "utf-8") not in {"utf-8", "utf8", "us-ascii"}:
        raise Refused(415, f"the body is in {given['charset']!r}; only UTF-8 is taken")
    if (coding := request.headers.get("content-encoding", "identity").lower()) not in {"", "identity"}:
        raise Refused(415, f"the body is compressed by {coding!r}; send it as it is", headers=_UNCOMPRESSED)
    return kind.strip(), given


_UNCOMPRESSED = (("accept-encoding", "identity"),)


def read_json(request: Request) -> Any:
    """Return the body's value; raises Refused: 415 when it says it is no JSON, 400 when it is none."""
    said_json(request)
    return decode(request.body)


def said_json(request: Request) -> None:
    """Raise Refused, 415, when the body says that it is no JSON."""
    if request.headers.get("content-type") != "application/json" or "content-encoding" in request.headers:
        kind, _ = content_type(request)
        # curl and HTML forms send JSON under their own default types: the body decides then.
        if not (kind.endswith("json") or kind in {"", "text/plain", "application/x-www-form-urlencoded"}):
            raise Refused(415, f"Content-Type is {kind!r}; this address takes application/json")


def decode(body: bytes) -> Any:
    """Return the JSON value of ``body``; raises Refused: 400 when it is none."""
    body = body.removeprefix(BOM_UTF8)  # RFC 8259, 8.1
    try:
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        if isinstance(error, msgspec.ValidationError) or b"NaN" in body or b"Infinity" in body:
            return _with_python_words(body)
        raise Refused(400, f"the body is no JSON: {error}") from error
    except RecursionError as error:
        raise Refused(400, "the body is nested too deeply") from error


def _with_python_words(body: bytes) -> Any:
    """Read NaN, Infinity and 1e999, as Python's ``json`` and TensorFlow Serving do: the signature judges them."""
    try:
        value = json.loads(body)
        json.dumps(value, ensure_ascii=False).encode()  # a half of a surrogate pair is no text
    except ValueError as error:
        raise Refused(400, f"the body is no JSON: {error}") from error
    except RecursionError as error:
        raise Refused(400, "the body is nested too deeply") from error
    return value


def read_object(request: Request) -> JSON:
    """Return the body's object; raises Refused when it is anything else."""
    value = read_json(request)
    if type(value) is not dict:
        raise Refused(400, f"expected an object, found {shown(value)}")
    return value
