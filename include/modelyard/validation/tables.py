"""Data sets as tables: read from their file, and turned into the rows a model's signature asks for."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.client.plain import cells

if TYPE_CHECKING:
    import pandas as pd

JSON = dict[str, Any]

FORMATS = ("csv", "jsonl", "parquet")


class TableError(ValueError):
    """A data set cannot be read as a table, or lacks what a model needs: what, as a sentence."""


def read_table(path: Path, form: str, text: Collection[str] = ()) -> pd.DataFrame:
    """Return the file's rows in their order.

    Args:
        path: the file.
        form: ``csv``, ``jsonl`` or ``parquet``.
        text: columns that hold text even where a CSV file's values look like numbers (``007``).

    Raises:
        TableError: another format, or a file that is not what its format says.
    """
    import pandas as pd

    try:
        if form == "csv":
            return pd.read_csv(path, dtype=dict.fromkeys(text, str), encoding="utf-8-sig")
        if form == "jsonl":
            with path.open(encoding="utf-8") as lines:
                return pd.DataFrame.from_records([json.loads(line) for line in lines if line.strip()])
        if form == "parquet":
            return pd.read_parquet(path)
    except (ValueError, TypeError, ImportError) as error:  # pandas' and Arrow's own errors are ValueErrors
        raise TableError(f"it is not readable as {form}: {error}") from error
    raise TableError(f"a file of format '{form}' is no table (tables are {', '.join(FORMATS)})")


def text_columns(signature: JSON) -> set[str]:
    """Return the columns that a model takes as text."""
    return {field["name"] for field in signature["inputs"] if field["datatype"] == "BYTES"}


def requests(frame: pd.DataFrame, signature: JSON, target: str, size: int) -> Iterator[JSON]:
    """Yield a model's requests for all rows in their order, ``size`` rows each.

    A model of columns is asked by name, for just the columns it knows; a model of a tensor gets all columns but the
    target in the file's order.

    Raises:
        TableError: a column is missing, or their number is not the tensor's.
    """
    if signature["kind"] == "tensor":
        names = [name for name in frame.columns if name != target]
        shape = signature["inputs"][0]["shape"]
        if len(shape) != 2 or shape[1] not in (-1, len(names)):
            raise TableError(
                f"the model takes rows of shape {shape[1:]}, the data have {len(names)} columns beside '{target}'"
            )
    else:
        names = [field["name"] for field in signature["inputs"]]
        if missing := [name for name in names if name not in frame.columns]:
            raise TableError(f"the data lack {', '.join(map(repr, missing))}, which the model needs")
    for start in range(0, len(frame), size):
        rows = frame.iloc[start : start + size]
        columns = {name: cells(rows[name]) for name in names}
        if signature["kind"] == "tensor":
            data = [list(row) for row in zip(*columns.values(), strict=True)]
            yield {"tensor": {"data": data, "shape": [len(data), len(names)]}}
        else:
            yield {"columns": columns}


def target_column(frame: pd.DataFrame, target: str | None) -> list[Any]:
    """Return what a model should answer, row by row.

    Raises:
        TableError: no target is named, it is not there, or some rows have none.
    """
    if len(frame) == 0:
        raise TableError("it has no rows")
    if target is None:
        raise TableError("no target column is named: say which column holds what is to be predicted")
    if target not in frame.columns:
        raise TableError(f"it has no column '{target}', its target (it has {', '.join(map(str, frame.columns[:20]))})")
    values: list[Any] = cells(frame[target])
    if empty := [row for row, value in enumerate(values, start=1) if value is None]:
        raise TableError(
            f"its target '{target}' is empty in {len(empty)} of {len(values)} rows, first in row {empty[0]}"
        )
    return values
