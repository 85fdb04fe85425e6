"""``log_data``: keeps the very data a run used, where the code makes or loads them itself."""

from __future__ import annotations

import csv
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from modelyard.client.observer import relay_of
from modelyard.client.plain import cell, cells

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def log_data(
    _run: Any, name: str, frame: Any, *, role: Literal["train", "evaluation"], target: str | None = None
) -> None:
    """Save a data set of this run as CSV; its rows and columns are fingerprinted.

    Data that model.yaml declares need no call. Without a store configured nothing is kept.

    Args:
        _run: Sacred's run.
        name: what to call it; the expectation suite of this name checks it.
        frame: a pandas frame, a list of dictionaries, a dictionary of columns, or a NumPy table (columns x0, x1, …).
        role: whether the model learned from it (``train``) or is measured by it (``evaluation``).
        target: the column to be predicted.

    Raises:
        ValueError: name, role or target are not what they can be, or the columns are not equally long.
        RelayError: the recording process can't keep it.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"log_data: '{name}' is no name for data: use small letters, digits, - and _")
    if role not in ("train", "evaluation"):
        raise ValueError(f"log_data: role of '{name}' is '{role}': say 'train' or 'evaluation'")
    columns = _columns(frame)
    if target is not None and target not in columns:
        raise ValueError(f"log_data: '{name}' has no column '{target}'; it has {', '.join(columns)}")
    relay = relay_of(_run)
    if relay is None:
        return
    with tempfile.TemporaryDirectory(prefix="modelyard-data-") as folder:
        path = Path(folder, f"{name}.csv")
        _write(path, columns)
        kept = relay.put(path)
    types = {column: str(values.dtype) for column, values in columns.items() if hasattr(values, "dtype")}
    relay.request("data", name=name, role=role, target=target, digest=kept.digest, size=kept.size, types=types)


def _columns(frame: Any) -> dict[str, Any]:
    if hasattr(frame, "columns"):
        return {str(name): frame[name] for name in frame.columns}
    if isinstance(frame, Mapping):
        return {str(name): values for name, values in frame.items()}
    if getattr(frame, "ndim", 0) == 2:
        return {f"x{index}": frame[:, index] for index in range(frame.shape[1])}
    if isinstance(frame, list) and frame and all(isinstance(row, Mapping) for row in frame):
        names = dict.fromkeys(str(name) for row in frame for name in row)
        return {name: [row.get(name) for row in frame] for name in names}
    raise ValueError(
        f"log_data: a {type(frame).__name__} is no table: give a pandas frame, a list of dictionaries, "
        "a dictionary of columns or a NumPy array of two dimensions"
    )


def _write(path: Path, columns: Mapping[str, Any]) -> None:
    # By hand, not by pandas: the same bytes for the same values, whatever version made them.
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        lists = [cells(values) for values in columns.values()]
        writer.writerows(["" if value is None else cell(value) for value in row] for row in zip(*lists, strict=True))
