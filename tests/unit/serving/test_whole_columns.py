"""The quick ways through a whole column say the same as the way through its values one by one."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.serving.contracts.delimited import _column, _value
from modelyard.serving.datatypes import MismatchError
from modelyard.serving.messages import Refused
from modelyard.serving.signature import Field, Signature

TYPES = ["INT8", "UINT64", "INT64", "FP32", "FP64", "BOOL", "BYTES"]
VALUES = st.none() | st.booleans() | st.integers(-130, 2**64 + 1) | st.floats() | st.text(max_size=3)
NUMBERS = ["1", "+1", "-0", "1.5", ".5", "5.", "1e3", "1e999", "--1", "1-", "1,2", "1_0", "nan", "inf", "x", "٣"]
CELLS = st.sampled_from([*NUMBERS, "", " 1", "1" * 401]) | st.text(max_size=3)


def field(datatype: str, *, nullable: bool) -> Field:
    return Field.from_json({"name": "x", "datatype": datatype, "shape": [-1], "nullable": nullable})


def outcome(work: Any) -> Any:
    """Return what came out, with its types; NaN equals itself."""
    try:
        return [(type(value), str(value)) for value in work()]
    except MismatchError:
        return MismatchError


@given(st.sampled_from(TYPES), st.booleans(), st.lists(VALUES, min_size=5, max_size=9))
def test_values_of_a_column(datatype: str, nullable: bool, values: list[Any]) -> None:
    one = field(datatype, nullable=nullable)
    assert outcome(lambda: one.column(values)) == outcome(lambda: [one.convert(value) for value in values])


@given(st.sampled_from(TYPES), st.booleans(), st.lists(CELLS, min_size=1, max_size=5))
def test_cells_of_a_column(datatype: str, nullable: bool, cells: list[str]) -> None:
    one = field(datatype, nullable=nullable)
    assert outcome(lambda: _column(cells, one)) == outcome(lambda: [_value(cell, one) for cell in cells])


@pytest.mark.parametrize("wrong", [math.inf, -math.inf, math.nan, 1, "1", None, 1e308])
def test_many_fractions_of_one_row(wrong: Any) -> None:
    fields = [{"name": f"x{number}", "datatype": "FP64", "shape": [-1], "nullable": False} for number in range(6)]
    signature = Signature.from_json({"kind": "columns", "inputs": fields, "outputs": []})
    columns = {f"x{number}": [1e308] for number in range(5)} | {"x5": [wrong]}
    if wrong in (1, 1e308):
        assert signature.check(columns) == columns
        assert type(signature.check(columns)["x5"][0]) is float
        return
    with pytest.raises(Refused, match="x5"):
        signature.check(columns)
