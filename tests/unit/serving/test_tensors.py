from __future__ import annotations

from typing import Any

import pytest

from modelyard.serving.contracts.tensors import Tail, read, write
from modelyard.serving.messages import Refused
from modelyard.serving.signature import Field


def field(datatype: str, *sizes: int) -> Field:
    return Field.from_json({"name": "x", "datatype": datatype, "shape": [-1, *sizes]})


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("BYTES", ["", "zwölf", "a\nb"]),
        ("BOOL", [True, False, True]),
        ("INT8", [-128, 0, 127]),
        ("UINT64", [0, 1, 2**64 - 1]),
        ("FP16", [0.5, -1.0, 65504.0]),
        ("FP32", [0.5, -1.0, 3.25]),
        ("FP64", [0.1, 1e308, -0.0]),
    ],
)
def test_what_is_written_in_bytes_is_read_again(datatype: str, values: list[Any]) -> None:
    tensor, data = write(field(datatype), values, binary=True)
    assert "data" not in tensor
    assert read(tensor, field(datatype), "here", Tail(data)) == values


@pytest.mark.parametrize("binary", [True, False])
def test_rows_of_any_shape(binary: bool) -> None:
    rows = [[[1, 2], [3, 4], [5, 6]], [[7, 8], [9, 10], [11, 12]]]
    tensor, data = write(field("INT32", -1, 2), rows, binary=binary)
    assert tensor["shape"] == [2, 3, 2]
    assert read(tensor, field("INT32", 3, 2), "here", Tail(data)) == rows


def test_nested_and_flat_data_are_the_same() -> None:
    flat = {"name": "x", "datatype": "INT32", "shape": [2, 3], "data": [1, 2, 3, 4, 5, 6]}
    nested = {**flat, "data": [[1, 2, 3], [4, 5, 6]]}
    assert read(flat, field("INT32", 3), "here", Tail(b"")) == read(nested, field("INT32", 3), "here", Tail(b""))


def test_a_missing_integer_has_no_bytes() -> None:
    tensor, data = write(field("INT64"), [1, None], binary=True)
    assert (tensor["data"], data) == ([1, None], b"")


def test_rows_of_different_shapes_are_no_tensor() -> None:
    for rows in ([[1.0], [1.0, 2.0]], [[1.0, 2.0], [1.0], [1.0, 2.0, 3.0]]):
        with pytest.raises(Refused, match="differs in shape from row to row"):
            write(field("FP64", -1), rows, binary=False)
