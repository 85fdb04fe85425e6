"""Rows and tensors in JSON read straight into the signature's types: parsing and checks of a large request in one step.

It takes less than the contracts do: of a request that it does not take it says nothing, and the request is read again
in the general way, which takes it all the same (3.0 for an integer) or names what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

import msgspec

from modelyard.serving.datatypes import integer_range
from modelyard.serving.messages import JSON, Call
from modelyard.serving.signature import Field, Signature

# Up to here every whole number is a fraction of its own; a larger one would be rounded unnoticed.
_FRACTION = Annotated[float, msgspec.Meta(gt=-(2.0**53), lt=2.0**53)]
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
        return Call(columns, len(rows), checked=True)

    return read


def tensors_reader(signature: Signature) -> Callable[[bytes], tuple[Call, JSON] | None] | None:
    """Return what reads a request of the Open Inference Protocol without bytes: the call, and what else it says.

    That one gives None for what it does not take. None instead of it: there can be no such reader for this signature.
    """
    if (types := _types(signature)) is None:
        return None
    # Which type the data have depends on the tensor's name: it tells one struct from the other.
    single = len(types) == 1
    tensors = tuple(
        msgspec.defstruct(
            f"Tensor{number}",
            [
                # A struct that is alone is taken without its tag as well, which no tensor may lack.
                *([("name", Literal[field.name])] if single else []),
                ("shape", list[int]),
                ("datatype", Literal[field.datatype]),
                ("data", list.__class_getitem__(types[field.name])),
                ("parameters", None, None),
            ],
            tag_field=None if single else "name",
            tag=None if single else field.name,
            gc=False,
        )
        for number, field in enumerate(signature.inputs)
    )
    any_tensor: Any = reduce(or_, tensors)
    said = [(name, Any, None) for name in ("id", "outputs", "parameters")]
    asked = msgspec.defstruct("Inference", [("inputs", list[any_tensor]), *said], gc=False)
    decode = msgspec.json.Decoder(asked).decode
    names = {tensor: field.name for tensor, field in zip(tensors, signature.inputs, strict=True)}

    def read(body: bytes) -> tuple[Call, JSON] | None:
        try:
            found: Any = decode(body)
        except _ERRORS:
            return None
        columns = {names[type(tensor)]: tensor.data for tensor in found.inputs}
        if len(columns) != len(names) or len(found.inputs) != len(names):
            return None
        rows = len(found.inputs[0].data)
        shapes = ([rows], [rows, 1])
        if not rows or any(len(tensor.data) != rows or tensor.shape not in shapes for tensor in found.inputs):
            return None
        rest = {"id": found.id, "outputs": found.outputs, "parameters": found.parameters}
        return Call(columns, rows, checked=True), rest

    return read


def _types(signature: Signature) -> dict[str, Any] | None:
    """Return for each input the type that takes nothing but what its field does, None when one has none."""
    types = {field.name: _type(field) for field in signature.inputs}
    return None if signature.kind == "tensor" or None in types.values() else types


def _type(field: Field) -> Any:
    kind: Any = {"FP64": _FRACTION, "BOOL": bool, "BYTES": str}.get(field.datatype)
    if field.whole is None:
        return None
    if kind is None:
        low, high = integer_range(field.datatype)
        if high >= 2**63:
            return None
        kind = Annotated[int, msgspec.Meta(ge=low, le=high)]
    return kind | None if field.nullable else kind
