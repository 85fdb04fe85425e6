"""Rows in JSON read straight into the signature's types: most of a large request's parsing and checks in one step.

It takes less than the contracts do: of a request that it does not take it says nothing, and the request is read again
in the general way, which takes it all the same (3.0 for an integer) or names what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Annotated, Any

import msgspec

from modelyard.serving.datatypes import integer_range
from modelyard.serving.messages import Call
from modelyard.serving.signature import Field, Signature

_EXACT = float(2**53)  # up to here every whole number is a fraction of its own; a larger one would be rounded unnoticed


def reader(signature: Signature) -> Callable[[bytes], Call | None] | None:
    """Return what reads ``[{…}, …]`` or ``{"rows": [{…}, …]}``: the call, or None for what it does not take.

    None: there can be no such reader for this signature.
    """
    types = {field.name: _type(field) for field in signature.inputs}
    numbers = [(f"value{number}", name) for number, name in enumerate(signature.order)]
    if signature.kind == "tensor" or None in types.values():
        return None
    try:
        row = msgspec.defstruct(
            "Row",
            [(attribute, types[name]) for attribute, name in numbers],
            rename=dict(numbers),
            forbid_unknown_fields=True,
            gc=False,
        )
    except ValueError:  # a name with a quotation mark, a backslash or a control character
        return None
    asked = msgspec.defstruct("Asked", [("rows", list[row])], forbid_unknown_fields=True)  # type: ignore[valid-type]
    decode = msgspec.json.Decoder(list[row] | asked).decode  # type: ignore[valid-type]
    values_of, names, fractions = msgspec.structs.astuple, signature.order, signature.fractions

    def read(body: bytes) -> Call | None:
        try:
            found: Any = decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        rows = found if type(found) is list else found.rows
        if not rows:
            return None
        columns = dict(zip(names, map(list, zip(*map(values_of, rows), strict=True)), strict=True))
        if fractions and not _exact(list(chain.from_iterable(map(columns.__getitem__, fractions)))):
            return None
        return Call(columns, len(rows), checked=True)

    return read


def _type(field: Field) -> Any:
    """Return the type that takes nothing but what the field does, None when there is none."""
    kind: Any = {"FP64": float, "BOOL": bool, "BYTES": str}.get(field.datatype)
    if field.whole is None:
        return None
    if kind is None:
        low, high = integer_range(field.datatype)
        if high >= 2**63:
            return None
        kind = Annotated[int, msgspec.Meta(ge=low, le=high)]
    return kind | None if field.nullable else kind


def _exact(values: list[Any]) -> bool:
    try:
        return bool(min(values) > -_EXACT and max(values) < _EXACT)
    except TypeError:  # one is missing
        return all(value is None or -_EXACT < value < _EXACT for value in values)
