"""Rows as they travel (JSON) and as the model takes them (a pandas frame, a list of dictionaries, a NumPy array)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelyard.client.plain import cells
from modelyard.client.signature import ExampleError

JSON = dict[str, Any]


def container(example: Any) -> str:
    """Return how the model takes its rows: ``frame`` (pandas), ``rows`` (a list of dictionaries) or ``array`` (NumPy).

    Raises:
        ExampleError: none of these, or no row at all.
    """
    if hasattr(example, "toarray"):
        raise ExampleError(
            "the example is a sparse matrix: give dense rows (example.toarray()), as the service will get them"
        )
    if not hasattr(example, "__len__") or len(example) == 0:
        raise ExampleError("the example has no row: give a few of the training data, for instance X[:5]")
    if hasattr(example, "columns") and hasattr(example, "dtypes"):
        return "frame"
    if isinstance(example, Sequence) and not isinstance(example, str) and isinstance(example[0], Mapping):
        return "rows"
    return "array"


def columns_of(example: Any) -> dict[str, Any]:
    """Return a frame's columns, or a list of values for each key of a list of rows."""
    if hasattr(example, "columns"):
        return {name: example[name] for name in example.columns}
    names = dict.fromkeys(name for row in example for name in row)
    return {name: [row.get(name) for row in example] for name in names}


def array_of(example: Any) -> Any:
    """Return the example as a NumPy array; text becomes an array of objects."""
    import numpy as np

    array = example if isinstance(example, np.ndarray) else np.asarray(example)
    return array.astype(object) if array.dtype.kind in "US" else array


def travelling(example: Any) -> JSON:
    """Return the example as a worker's request: ``{"columns": …}`` or ``{"tensor": …}``."""
    if container(example) == "array":
        array = array_of(example)
        return {"tensor": {"data": cells(array), "shape": list(array.shape)}}
    return {"columns": {name: cells(values) for name, values in columns_of(example).items()}}


def rows_of(request: JSON) -> list[Any]:
    """Return the rows of a request one by one, as golden predictions keep them."""
    if "tensor" in request:
        rows: list[Any] = request["tensor"]["data"]
        return rows
    columns = request["columns"]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def arriving(request: JSON, signature: JSON) -> Any:
    """Return what the model takes, made from a request: every column in the type it had at training.

    Raises:
        ValueError, KeyError, TypeError: the request does not fit the signature.
    """
    if signature["kind"] == "tensor":
        import numpy as np

        tensor = request["tensor"]
        return np.asarray(tensor["data"], dtype=signature["inputs"][0]["dtype"]).reshape(tensor["shape"])
    columns = request["columns"]
    if signature["container"] == "rows":
        names = [entry["name"] for entry in signature["inputs"]]
        return [dict(zip(names, row, strict=True)) for row in zip(*(columns[name] for name in names), strict=True)]
    import pandas as pd

    return pd.DataFrame(
        {entry["name"]: _column(columns[entry["name"]], entry) for entry in signature["inputs"]}, copy=False
    )


def _column(values: list[Any], entry: JSON) -> Any:
    dtype = entry["dtype"]
    if dtype in _NUMPY_TYPES:
        import numpy as np

        return np.array(values, dtype=dtype)  # None becomes NaN in floats, and is refused elsewhere
    if dtype == "object":
        import numpy as np

        empty = None if entry.get("missing") == "none" else float("nan")
        column = np.empty(len(values), dtype=object)
        column[:] = [empty if value is None else value for value in values]
        return column
    import pandas as pd

    if "categories" in entry:
        return pd.Categorical(values, categories=entry["categories"], ordered=entry["ordered"])
    return pd.array(values, dtype=dtype)


_NUMPY_TYPES = frozenset(
    ["bool", "float16", "float32", "float64"] + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)
