"""Tensors of the Open Inference Protocol: in JSON, and in bytes after it (Triton's binary tensor data extension)."""

from __future__ import annotations

import math
import struct
from itertools import chain
from typing import Any

from modelyard.serving.datatypes import DATATYPES, MismatchError, scalar
from modelyard.serving.messages import JSON, Refused
from modelyard.serving.signature import Field, mismatches, refuse, shown

_MOST_DIMENSIONS, _LONGEST = 16, 2**31
# Little-endian, in struct's letters; BF16 is the upper half of an FP32.
_FORMS = {"BOOL": "B", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d"}
_FORMS |= {f"U{name}": form.upper() for name, form in _FORMS.items() if name.startswith("INT")} | {"BF16": "H"}
_KNOWN = frozenset({*DATATYPES, "BF16"})
# A tensor may say another type than the signature: its values must be of its own.
_CONVERTERS = {name: scalar("FP32" if name == "BF16" else name) for name in _KNOWN}


class Tail:
    """The bytes after a request's JSON, taken tensor by tensor in their order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._taken = 0

    @property
    def rest(self) -> int:
        """Bytes that belong to no tensor so far."""
        return len(self._data) - self._taken

    def take(self, size: int, place: str) -> bytes:
        """Return the next ``size`` bytes; raises Refused when there are fewer."""
        if size > self.rest:
            text = f"binary_data_size is {shown(size)}, but only {self.rest} bytes are left of the body"
            raise Refused(400, f"{place}: {text}")
        self._taken += size
        return self._data[self._taken - size : self._taken]


def read(tensor: JSON, field: Field, place: str, tail: Tail) -> list[Any]:
    """Return an input tensor's values, an entry a row.

    A plain column may come as ``[n]`` and as ``[n, 1]``: data frames are often sent so.

    Raises:
        Refused: 400, it is no tensor; 422 with row and field, a value is not of the type that the tensor claims.
    """
    datatype, shape = tensor.get("datatype"), tensor.get("shape")
    if type(datatype) is not str or datatype not in _KNOWN:
        raise Refused(400, f"{place}: datatype is {shown(datatype)}, none of {', '.join(sorted(_KNOWN))}")
    if type(shape) is not list or not 1 <= len(shape) <= _MOST_DIMENSIONS or not all(map(_is_size, shape)):
        raise Refused(400, f"{place}: shape is {shown(shape)}, no list of sizes from 1 to {_LONGEST}")
    per_row = math.prod(shape[1:])
    if (size := parameter(tensor, "binary_data_size", place)) is not None:
        if type(size) is not int or size < 0 or "data" in tensor:
            raise Refused(400, f"{place}: expected either data or the parameter binary_data_size, a number of bytes")
        values = _unpacked(tail.take(size, place), datatype, shape, field.name, place)
    else:
        values = _elements(tensor.get("data"), shape, place)
        if datatype != field.datatype:
            _check(values, datatype, field.name, per_row)
    if not field.shape and per_row == 1:
        return values
    for length in reversed(shape[1:]):
        values = [values[start : start + length] for start in range(0, len(values), length)]
    return values


def write(field: Field, values: list[Any], *, binary: bool) -> tuple[JSON, bytes]:
    """Return an output tensor, and its bytes when it is to have some and they can say what it holds.

    The values are the signature's (``answers``); a missing number is NaN in bytes, where JSON has null.

    Raises:
        Refused: 422, its rows are of different shapes, which no tensor can be.
    """
    shape = [len(values)]
    for size in field.shape:
        if size < 0:
            size, *others = set(map(len, values)) or {0}
            if others:
                raise Refused(422, f"the output {field.name!r} differs in shape from row to row: ask /predict")
        shape.append(size)
        values = list(chain.from_iterable(values))
    tensor: JSON = {"name": field.name, "shape": shape, "datatype": field.datatype}
    if binary and (data := _packed(values, field.datatype)) is not None:
        tensor["parameters"] = {"binary_data_size": len(data)}
        return tensor, data
    tensor["data"] = values
    return tensor, b""


def parameter(holder: JSON, name: str, place: str) -> Any:
    """Return one of an object's ``parameters``, None when it has none of the name."""
    parameters = holder.get("parameters")
    if parameters is None:
        return None
    if type(parameters) is not dict:
        raise Refused(400, f"{place}: parameters is {shown(parameters)}, no object")
    return parameters.get(name)


def _is_size(size: Any) -> bool:
    return type(size) is int and 0 < size <= _LONGEST


def _elements(data: Any, shape: list[int], place: str) -> list[Any]:
    """Flatten data in JSON, which is flat already or nested as the shape says."""
    if type(data) is not list:
        raise Refused(400, f"{place}: data is {shown(data)}, no list")
    if len(shape) > 1 and data and type(data[0]) is list:
        parts = [data]
        for length in shape:
            if not all(type(part) is list and len(part) == length for part in parts):
                raise Refused(400, f"{place}: data is not nested as its shape {shown(shape)} says")
            parts = list(chain.from_iterable(parts))
        return parts
    if len(data) != math.prod(shape):
        holds = shown(math.prod(shape))
        raise Refused(400, f"{place}: shape {shown(shape)} holds {holds} values, data has {len(data)}")
    return data


def _check(values: list[Any], datatype: str, name: str, per_row: int) -> None:
    convert, expected = _CONVERTERS[datatype]
    try:
        for value in values:
            if value is not None and value == value:  # what is missing is the signature's matter
                convert(value)
    except MismatchError:
        problems = mismatches(values, convert, name, expected)
        raise refuse([{**problem, "row": problem["row"] // per_row} for problem in problems]) from None


def _unpacked(data: bytes, datatype: str, shape: list[int], name: str, place: str) -> list[Any]:
    count, per_row = math.prod(shape), math.prod(shape[1:])
    if datatype == "BYTES":
        return _texts(data, count, per_row, name, place)
    form = _FORMS[datatype]
    if len(data) != count * struct.calcsize(form):
        takes = shown(count * struct.calcsize(form))
        raise Refused(400, f"{place}: {datatype} of shape {shown(shape)} takes {takes} bytes, not {len(data)}")
    values = list(struct.unpack(f"<{count}{form}", data))
    if datatype == "BF16":
        return list(struct.unpack(f"<{count}f", struct.pack(f"<{count}I", *(value << 16 for value in values))))
    if datatype != "BOOL":
        return values
    for number, value in enumerate(values):
        if value > 1:
            found = {"row": number // per_row, "field": name, "expected": "a byte of 0 or 1 (BOOL)", "found": value}
            raise refuse([found])
    return list(map(bool, values))


def _texts(data: bytes, count: int, per_row: int, name: str, place: str) -> list[str]:
    texts: list[str] = []
    start = 0
    while start < len(data):
        end = start + 4 + int.from_bytes(data[start : start + 4], "little")
        if end > len(data) or start + 4 > len(data) or len(texts) == count:
            break
        try:
            texts.append(data[start + 4 : end].decode())
        except UnicodeDecodeError:
            found = repr(data[start + 4 : end][:20])
            row = len(texts) // per_row
            raise refuse([{"row": row, "field": name, "expected": "text in UTF-8 (BYTES)", "found": found}]) from None
        start = end
    if len(texts) != count or start != len(data):
        raise Refused(400, f"{place}: its bytes are no {shown(count)} texts, each after its length in 4 bytes")
    return texts


def _packed(values: list[Any], datatype: str) -> bytes | None:
    """Return the values as bytes, None when one is missing and the type has no way to say so."""
    if datatype in {"FP16", "FP32", "FP64"}:
        values = [math.nan if value is None else value for value in values]
    elif None in values:
        return None
    if datatype == "BYTES":
        return b"".join(len(text).to_bytes(4, "little") + text for text in map(str.encode, values))
    return struct.pack(f"<{len(values)}{_FORMS[datatype]}", *values)
