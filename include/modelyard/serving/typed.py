"""Rows and tensors in JSON read straight into the signature's types: parsing and checks of a large request in one step.

It takes less than the contracts do: of a request that it does not take it says nothing, and the request is read again
in the general way, which takes it all the same (3.0 for an integer) or names what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Annotated, Any

import msgspec

from modelyard.serving.datatypes import integer_range
from modelyard.serving.messages import JSON, Call, Columns
from modelyard.serving.signature import Field, Signature

_EXACT = float(2**53)  # up to here every whole number is a fraction of its own; a larger one would be rounded unnoticed
_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def rows_reader(signature: Signature) -> Callable[[bytes], Call | None] | None:
    """Return what reads ``[{…}, …]`` or ``{"rows": [{…}, …]}``: the call, or None for what it does not take.

    None: there can be no such reader for this signature.
    """
    if (types := _types(signature)) is None:
        return None
    attributes = {f"value{number}": name for number, name in enumerate(types)}
    fields = [(attribute, types[name]) for attribute, name in attributes.items()]
    try:
        row = msgspec.defstruct("Row", fields, rename=attributes, forbid_unknown_fields=True, gc=False)
    except ValueError:  # a name with a quotation mark, a backslash or a control character
        return None
    asked = msgspec.defstruct("Asked", [("rows", list[row])], forbid_unknown_fields=True)  # type: ignore[valid-type]
    decode = msgspec.json.Decoder(list[row] | asked).decode  # type: ignore[valid-type]
    values_of, names = msgspec.structs.astuple, signature.order

    def read(body: bytes) -> Call | None:
        try:
            found: Any = decode(body)
        except _ERRORS:
            return None
        rows = found if type(found) is list else found.rows
        if not rows:
            return None
        columns = dict(zip(names, map(list, zip(*map(values_of, rows), strict=True)), strict=True))
        return Call(columns, len(rows), checked=True) if _exact(columns, signature) else None

    return read


class _Tensor(msgspec.Struct, gc=False):
    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw
    parameters: None = None


class _Inference(msgspec.Struct):
    inputs: list[_Tensor]
    id: Any = None
    outputs: Any = None
    parameters: Any = None


def tensors_reader(signature: Signature) -> Callable[[bytes], tuple[Call, JSON] | None] | None:
    """Return what reads a request of the Open Inference Protocol without bytes: the call, and what else it says.

    That one gives None for what it does not take. None instead of it: there can be no such reader for this signature.
    """
    if (types := _types(signature)) is None:
        return None
    fields = {
        field.name: (field.datatype, msgspec.json.Decoder(list.__class_getitem__(types[field.name])).decode)
        for field in signature.inputs
    }
    decode = msgspec.json.Decoder(_Inference).decode

    def read(body: bytes) -> tuple[Call, JSON] | None:
        try:
            found = decode(body)
            columns = {}
            for tensor in found.inputs:
                datatype, values_of = fields[tensor.name]
                values = columns[tensor.name] = values_of(tensor.data)
                if tensor.datatype != datatype or tensor.shape not in ([len(values)], [len(values), 1]):
                    return None
        except (*_ERRORS, KeyError):
            return None
        sizes = set(map(len, columns.values()))
        if len(columns) != len(found.inputs) or len(columns) != len(fields) or len(sizes) != 1 or sizes == {0}:
            return None
        if not _exact(columns, signature):
            return None
        (rows,) = sizes
        rest = {"id": found.id, "outputs": found.outputs, "parameters": found.parameters}
        return Call(columns, rows, checked=True), rest

    return read


def _types(signature: Signature) -> dict[str, Any] | None:
    """Return for each input the type that takes nothing but what its field does, None when one has none."""
    types = {field.name: _type(field) for field in signature.inputs}
    return None if signature.kind == "tensor" or None in types.values() else types


def _type(field: Field) -> Any:
    kind: Any = {"FP64": float, "BOOL": bool, "BYTES": str}.get(field.datatype)
    if field.whole is None:
        return None
    if kind is None:
        low, high = integer_range(field.datatype)
        if high >= 2**63:
            return None
        kind = Annotated[int, msgspec.Meta(ge=low, le=high)]
    return kind | None if field.nullable else kind


def _exact(columns: Columns, signature: Signature) -> bool:
    """Whether no fraction may be a whole number that was rounded."""
    values = list(chain.from_iterable(map(columns.__getitem__, signature.fractions)))
    if not values:
        return True
    try:
        return bool(min(values) > -_EXACT and max(values) < _EXACT)
    except TypeError:  # one is missing
        return all(value is None or -_EXACT < value < _EXACT for value in values)
