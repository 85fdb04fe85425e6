"""Rows read at once are what the general way makes of them, value for value and type for type, or are left to it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.serving.messages import JSON, Refused
from modelyard.serving.rows import reader
from modelyard.serving.signature import Signature

TYPES = ("FP64", "INT8", "UINT16", "INT64", "BOOL", "BYTES")
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-130, 130)
    | st.sampled_from([2**53, -(2**53), 2**53 + 1, 2**63 - 1, 2**63, 10**30, 1e300, 3.0, -0.0, 0])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3)
    | st.lists(st.integers(), max_size=1)
)
RIGHT: dict[str, st.SearchStrategy[Any]] = {
    "FP64": st.floats(-1e6, 1e6) | st.integers(-100, 100),
    "INT8": st.integers(-128, 127),
    "UINT16": st.integers(0, 2**16 - 1),
    "INT64": st.integers(-(2**63), 2**63 - 1),
    "BOOL": st.booleans(),
    "BYTES": st.text(max_size=3),
}


def field(name: str, datatype: str, *, nullable: bool = False, **more: Any) -> JSON:
    return {"name": name, "datatype": datatype, "shape": [-1], "nullable": nullable, **more}


def signature(*fields: JSON) -> Signature:
    return Signature.from_json({"kind": "columns", "inputs": list(fields), "outputs": []})


@st.composite
def asked(draw: st.DrawFn) -> tuple[Signature, list[JSON]]:
    fields = [field(f"size {kind} (cm)", kind, nullable=draw(st.booleans())) for kind in TYPES]
    wrong = draw(st.sampled_from([*TYPES, None]))
    values = {
        one["name"]: VALUES if one["datatype"] == wrong else RIGHT[one["datatype"]]
        for one in draw(st.permutations(fields))
    }
    rows = draw(st.lists(st.fixed_dictionaries(values), min_size=1, max_size=6))
    return signature(*fields), rows


@given(asked(), st.booleans())
def test_what_is_read_at_once_is_what_the_general_way_makes_of_it(
    given: tuple[Signature, list[JSON]], wrapped: bool
) -> None:
    known, rows = given
    read = reader(known)
    assert read is not None
    call = read(json.dumps({"rows": rows} if wrapped else rows).encode())
    if call is None:
        return
    assert call.rows == len(rows)
    expected = known.check(known.columns_of(rows))
    assert list(call.columns) == list(expected)
    assert repr(call.columns).replace("-0.0", "0.0") == repr(expected).replace("-0.0", "0.0")


def test_right_rows_are_read_at_once() -> None:
    read = reader(signature(field("a b", "FP64", nullable=True), field("c", "INT64"), field("d", "BYTES")))
    assert read is not None
    call = read(b'[{"c": 1, "a b": 2, "d": "x"}, {"a b": null, "c": -3, "d": ""}]')
    assert call is not None
    assert call.checked
    assert call.columns == {"a b": [2.0, None], "c": [1, -3], "d": ["x", ""]}


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b'{"rows": []}',
        b'{"rows": [{"x": 1}], "more": 1}',
        b'[{"x": 1}, {"x": NaN}]',
        b'[{"x": 1e999}]',
        b'[{"x": 9007199254740993}]',
        b'[{"x": -9007199254740993}, {"x": 1}]',
        b'[{"x": 1, "y": 1}]',
        b'[{"y": 1}]',
        b'[{"x": "1"}]',
        b'[{"x": true}]',
        b"[[1]]",
        b'[{"x": 1}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_anything_else_is_left_to_the_general_way(body: bytes) -> None:
    read = reader(signature(field("x", "FP64")))
    assert read is not None
    assert read(body) is None


@pytest.mark.parametrize(
    "one",
    [
        field("x", "FP32"),
        field("x", "UINT64"),
        field("x", "BYTES", categories=["a"]),
        field("x", "BYTES", dtype="datetime64[ns]"),
        {**field("x", "FP64"), "shape": [-1, 3]},
        field('x"y', "FP64"),
    ],
)
def test_signatures_that_ask_more_have_no_such_reader(one: JSON) -> None:
    assert reader(signature(one)) is None


def test_a_general_refusal_is_not_lost() -> None:
    known = signature(field("x", "INT8"))
    read = reader(known)
    assert read is not None
    assert read(b'[{"x": 300}]') is None
    with pytest.raises(Refused, match="row 0, field 'x': expected an integer from -128 to 127"):
        known.check(known.columns_of([{"x": 300}]))
