from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelyard.validation.tables import TableError, read_table, requests, target_column, text_columns


def signature(**inputs: str) -> dict[str, Any]:
    return {
        "kind": "columns",
        "inputs": [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in inputs.items()],
        "outputs": [{"name": "prediction", "datatype": "INT64", "shape": [-1]}],
    }


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "houses.csv"
    path.write_text("\ufeffzip,rooms,price\n00501,3,100\n10001,,250.5\n")
    return path


def test_text_that_looks_like_a_number_stays_text_where_the_model_takes_text(csv: Path) -> None:
    wanted = signature(zip="BYTES", rooms="FP64")
    frame = read_table(csv, "csv", text_columns(wanted))
    assert list(requests(frame, wanted, "price", 10)) == [
        {"columns": {"zip": ["00501", "10001"], "rooms": [3.0, None]}}
    ]


def test_rows_come_in_order_and_in_portions(csv: Path) -> None:
    frame = read_table(csv, "csv")
    wanted = signature(zip="INT64")
    assert [request["columns"]["zip"] for request in requests(frame, wanted, "price", 1)] == [[501], [10001]]


def test_a_tensor_gets_all_columns_but_the_target() -> None:
    import pandas as pd

    frame = pd.DataFrame({"x": [1, 2], "y": [0, 1], "z": [0.5, 1.5]})
    tensor = {"kind": "tensor", "inputs": [{"name": "input", "datatype": "FP64", "shape": [-1, 2]}]}
    assert list(requests(frame, tensor, "y", 10)) == [{"tensor": {"data": [[1, 0.5], [2, 1.5]], "shape": [2, 2]}}]
    with pytest.raises(TableError, match=r"rows of shape \[2\], the data have 1 columns beside 'y'"):
        list(requests(frame[["x", "y"]], tensor, "y", 10))


def test_a_missing_column_is_named(csv: Path) -> None:
    with pytest.raises(TableError, match="lack 'garage'"):
        list(requests(read_table(csv, "csv"), signature(zip="INT64", garage="INT64"), "price", 10))


def test_lines_of_json_keep_their_types(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "\n".join(json.dumps(row) for row in [{"id": "7", "at": "2024-01-01"}, {"id": "08", "at": None}]) + "\n\n"
    )
    frame = read_table(path, "jsonl")
    assert next(requests(frame, signature(id="BYTES", at="BYTES"), "", 9)) == {
        "columns": {"id": ["7", "08"], "at": ["2024-01-01", None]}
    }


@pytest.mark.parametrize(
    ("form", "content", "told"),
    [
        ("jsonl", b"{no json", "not readable as jsonl"),
        ("csv", b"", "not readable as csv"),
        ("csv", b"a,b\n\xff\xfe,1\n", "not readable as csv"),
        ("png", b"", "format 'png' is no table"),
    ],
)
def test_what_is_no_table_is_told(tmp_path: Path, form: str, content: bytes, told: str) -> None:
    path = tmp_path / "data"
    path.write_bytes(content)
    with pytest.raises(TableError, match=told):
        read_table(path, form)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (None, "no target column is named"),
        ("prize", r"no column 'prize', its target \(it has zip, rooms, price\)"),
        ("rooms", "empty in 1 of 2 rows, first in row 2"),
    ],
)
def test_a_target_that_cannot_be_scored_against_is_told(csv: Path, target: str | None, told: str) -> None:
    with pytest.raises(TableError, match=told):
        target_column(read_table(csv, "csv"), target)


def test_a_table_without_rows_is_no_evaluation_data(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("x,y\n")
    with pytest.raises(TableError, match="no rows"):
        target_column(read_table(path, "csv"), "y")


def test_parquet_keeps_types_times_and_gaps(tmp_path: Path) -> None:
    import pandas as pd

    path = tmp_path / "rows.parquet"
    times = [pd.Timestamp("2024-01-01T10:00"), None]
    pd.DataFrame({"id": ["07", None], "at": times, "n": pd.array([1, None], dtype="Int64")}).to_parquet(path)
    frame = read_table(path, "parquet")
    assert list(requests(frame, signature(id="BYTES", at="BYTES", n="INT64"), "", 9)) == [
        {"columns": {"id": ["07", None], "at": ["2024-01-01T10:00:00", None], "n": [1, None]}}
    ]
    path.write_bytes(b"PAR1 no")
    with pytest.raises(TableError, match="not readable as parquet"):
        read_table(path, "parquet")
