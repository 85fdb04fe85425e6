"""Values of any library as plain JSON, so that what is recorded can be read by everything that reads JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import PurePath
from typing import Any


def plain(value: Any) -> Any:
    """Return ``value`` made of None, bool, int, float, str, lists and dictionaries.

    NumPy, pandas and PyTorch values become numbers and lists of numbers; a datetime becomes ``{"$date": ISO}``,
    which ``restored`` reads back. What no rule fits is written as Sacred itself would write it.
    """
    for kind in (bool, str, int, float):
        if isinstance(value, kind):  # of a subclass (NumPy's float, an enumeration), too
            return kind(value)
    if value is None:
        return None
    if isinstance(value, datetime):
        return {"$date": value.isoformat()}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return [plain(item) for item in sorted(value, key=repr)]
    if isinstance(value, PurePath | date):
        return str(value)
    if callable(tolist := getattr(value, "tolist", None)):
        return plain(tolist())
    from sacred.serializer import flatten

    return flatten(value)


def restored(value: Any) -> Any:
    """Return what ``plain`` was given, as far as JSON can tell: datetimes are datetimes again."""
    if isinstance(value, dict):
        if len(value) == 1 and isinstance(value.get("$date"), str):
            return datetime.fromisoformat(value["$date"])
        return {key: restored(item) for key, item in value.items()}
    if isinstance(value, list):
        return [restored(item) for item in value]
    return value


def cell(value: Any) -> Any:
    """Return one value of a table as plain JSON: a missing one (None, NaN, NaT, NA) is None, a time is ISO text."""
    if callable(tolist := getattr(value, "tolist", None)):
        value = tolist()
    if missing(value):
        return None
    if isinstance(value, datetime | date):
        return value.isoformat()
    return plain(value)


def cells(values: Any) -> Any:
    """Return a column, or an array of any shape, as (nested) lists of cells."""
    if not isinstance(values, list | tuple) and callable(tolist := getattr(values, "tolist", None)):
        dtype = getattr(values, "dtype", None)
        # pandas' own types can be missing in any kind.
        kind = "O" if hasattr(dtype, "na_value") else getattr(dtype, "kind", "O")
        if kind in "iub" or (kind == "f" and not (values != values).any()):
            return tolist()  # nothing can be missing: the quick way
        values = tolist()
    if isinstance(values, list | tuple):
        return [cells(value) for value in values]
    return cell(values)


def missing(value: Any) -> bool:
    """Return whether a cell is empty: None, NaN, NaT or pandas' NA."""
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(value, float) and math.isnan(value)
