"""A model's signature: names, types and shapes of what goes in and comes out, read off an example and its answers.

Types are the Open Inference Protocol's. The project's own type (pandas, NumPy) is kept beside each, so that the model
sees at serving time what it saw at training time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from modelyard.client.plain import cell, missing

JSON = dict[str, Any]

_NUMPY_KINDS = {"i": "INT", "u": "UINT", "f": "FP"}
# Trying each column of a very wide table would take longer than it is worth.
_MOST_PROBED = 200


class ExampleError(ValueError):
    """The example, or what the model answers to it, cannot be described: what, where, and what to give instead."""


def datatype(values: Any, where: str) -> str:
    """Return the Open Inference Protocol's type of a NumPy array, a pandas column or a list of Python values.

    Args:
        values: whose type it is.
        where: for the error, e.g. ``column 'age'``.

    Raises:
        ExampleError: values of several types, or of one that has no counterpart.
    """
    dtype = getattr(values, "dtype", None)
    numpy_dtype = getattr(dtype, "numpy_dtype", dtype)  # pandas' nullable types hold NumPy's
    kind, size = getattr(numpy_dtype, "kind", "O"), getattr(numpy_dtype, "itemsize", 8)
    if kind == "b":
        return "BOOL"
    if kind in _NUMPY_KINDS and size <= 8:
        return (
            f"{_NUMPY_KINDS[kind]}{max(size * 8, 32 if kind == 'f' else 8)}"  # half floats widen: the protocol has none
        )
    if kind in "USMm":
        return "BYTES"
    categories = getattr(dtype, "categories", None)
    present = [value for value in (values if categories is None else categories) if not missing(value)]
    if not present:
        raise ExampleError(f"{where} holds no value in the example: give rows that have one")
    kinds = {_python_type(value) for value in present}
    if kinds == {"FP64", "INT64"}:
        return "FP64"
    if len(kinds) == 1 and (only := kinds.pop()) is not None:
        return only
    names = sorted({type(value).__name__ for value in present})
    raise ExampleError(f"{where} holds values of {', '.join(names)}: give one kind (numbers, booleans or text)")


def _python_type(value: Any) -> str | None:
    if isinstance(value, bool):
        return "BOOL"
    if isinstance(value, int):
        return "INT64"
    if isinstance(value, float):
        return "FP64"
    if isinstance(value, str | bytes | date):
        return "BYTES"
    if callable(item := getattr(value, "item", None)):
        return _python_type(item())
    return None


def of_columns(columns: Mapping[str, Any], answers: Callable[[str], bool]) -> list[JSON]:
    """Return the inputs of a model that takes a table.

    Args:
        columns: each column by name: a pandas column, or a list of values.
        answers: whether the model answers when this column's first value is missing.
    """
    inputs = []
    for name, values in columns.items():
        if not isinstance(name, str):
            raise ExampleError(f"column {name!r} has no name in text: name the columns (frame.columns = […])")
        dtype = getattr(values, "dtype", None)
        kind = datatype(values, f"column '{name}'")
        has_missing = any(missing(value) for value in values)
        # A whole number or a truth value with gaps would not be one: pandas makes it a float or an object.
        could = kind in {"FP32", "FP64", "BYTES"} and len(columns) <= _MOST_PROBED
        nullable = has_missing or (could and answers(name))
        entry: JSON = {"name": name, "datatype": kind, "shape": [-1], "nullable": nullable}
        if dtype is not None:
            entry["dtype"] = str(dtype)
            if (categories := getattr(dtype, "categories", None)) is not None:
                entry["categories"] = [_category(value, name) for value in categories]
                entry["ordered"] = bool(dtype.ordered)
            if any(value is None for value in values):
                entry["missing"] = "none"  # as this model saw it; else NaN, as pandas reads files
        inputs.append(entry)
    return inputs


def _category(value: Any, column: str) -> Any:
    value = cell(value)
    if not isinstance(value, str | int | float | bool):
        raise ExampleError(f"column '{column}' has the category {value!r}: use text or numbers")
    return value


def of_tensor(array: Any) -> list[JSON]:
    """Return the one input of a model that takes an array: its first axis are the rows."""
    shape = [-1, *(int(size) for size in array.shape[1:])]
    kind = datatype(array.reshape(-1), "the example")
    dtype = "object" if kind == "BYTES" else str(array.dtype)
    nullable = kind.startswith("FP") and bool((array != array).any())
    return [{"name": "input", "datatype": kind, "shape": shape, "nullable": nullable, "dtype": dtype}]


def of_outputs(outputs: Mapping[str, Any], rows: int) -> list[JSON]:
    """Return the outputs, read off the model's answers.

    Raises:
        ExampleError: an answer is not one for each row.
    """
    described = []
    for name, values in outputs.items():
        shape = _shape(values)
        if not shape or shape[0] != rows:
            raise ExampleError(f"output '{name}' has shape {shape} for {rows} rows: answer one entry for each row")
        flat = values.reshape(-1) if hasattr(values, "reshape") else _flat(values)
        described.append({"name": name, "datatype": datatype(flat, f"output '{name}'"), "shape": [-1, *shape[1:]]})
    return described


def _shape(values: Any) -> list[int]:
    if hasattr(values, "shape"):
        return [int(size) for size in values.shape]
    shape: list[int] = []
    while isinstance(values, Sequence) and not isinstance(values, str | bytes):
        shape.append(len(values))
        if not values:
            break
        values = values[0]
    return shape


def _flat(values: Any) -> list[Any]:
    if isinstance(values, list | tuple):
        return [leaf for value in values for leaf in _flat(value)]
    return [values]
