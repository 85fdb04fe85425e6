"""What is read at once is what the general way makes of them, value for value and type for type, or is left to it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.serving.contracts.inference import _columns
from modelyard.serving.contracts.tensors import Tail
from modelyard.serving.messages import JSON, Columns, Refused
from modelyard.serving.signature import Signature
from modelyard.serving.typed import rows_reader, tensors_reader

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


def same(found: Columns, expected: Columns) -> bool:
    return all(_unsigned(found[name]) == _unsigned(expected[name]) for name in expected)


def _unsigned(values: object) -> str:
    """Zero without its sign, which a whole number has not: one way reads -0 as that, the other as what is promised."""
    return re.sub(r"-0\.0(?!\d)", "0.0", repr(values))


@given(asked(), st.booleans())
def test_rows_read_at_once_are_what_the_general_way_makes_of_them(
    given: tuple[Signature, list[JSON]], wrapped: bool
) -> None:
    known, rows = given
    read = rows_reader(known)
    assert read is not None
    call = read(json.dumps({"rows": rows} if wrapped else rows).encode())
    if call is not None:
        assert call.rows == len(rows)
        assert same(call.columns, known.check(known.columns_of(rows)))


@given(asked(), st.sampled_from([0, 1, 2]), st.sampled_from(["", "id", "name", "datatype", "twice", "missing"]))
def test_tensors_read_at_once_are_what_the_general_way_makes_of_them(
    given: tuple[Signature, list[JSON]], dimensions: int, wrong: str
) -> None:
    known, rows = given
    inputs = [
        {
            "name": one.name,
            "datatype": one.datatype,
            "shape": [len(rows), 1][:dimensions],
            "data": [row[one.name] for row in rows],
        }
        for one in known.inputs
    ]
    if wrong in inputs[0]:
        inputs[0][wrong] = "INT16"
    inputs = {"twice": [*inputs, inputs[0]], "missing": inputs[1:]}.get(wrong, inputs)
    read = tensors_reader(known)
    assert read is not None
    body = {"inputs": inputs, "outputs": [{"name": "y"}], **({"id": "7"} if wrong == "id" else {})}
    found = read(json.dumps(body).encode())
    if found is None:
        return
    call, rest = found
    assert rest == {"id": body.get("id"), "outputs": [{"name": "y"}], "parameters": None}
    assert call.rows == len(rows)
    fields = {one.name: one for one in known.inputs}
    assert same(call.columns, known.check(_columns(inputs, fields, Tail(b""))))


def test_right_tensors_are_read_at_once() -> None:
    read = tensors_reader(signature(field("a", "FP64", nullable=True), field("b", "INT8")))
    assert read is not None
    found = read(
        b'{"inputs": [{"name": "b", "datatype": "INT8", "shape": [2, 1], "data": [1, 2]},'
        b' {"name": "a", "datatype": "FP64", "shape": [2], "data": [null, 2]}]}'
    )
    assert found is not None
    assert found[0].checked
    assert found[0].columns == {"a": [None, 2.0], "b": [1, 2]}


@pytest.mark.parametrize(
    "tensor",
    [
        {},
        {"shape": [2]},
        {"shape": []},
        {"shape": [0], "data": []},
        {"data": [300]},
        {"data": [[1]]},
        {"data": [1.0]},
        {"datatype": "INT64"},
        {"name": "y"},
        {"parameters": {"binary_data_size": 1}},
    ],
)
def test_other_tensors_are_left_to_the_general_way(tensor: JSON) -> None:
    read = tensors_reader(signature(field("x", "INT8")))
    assert read is not None
    right = {"name": "x", "datatype": "INT8", "shape": [1], "data": [1]}
    found = read(json.dumps({"inputs": [{**right, **tensor}]}).encode())
    assert (found is None) == bool(tensor)


@pytest.mark.parametrize("names", [["x"], ["x", "y"]])
def test_no_tensor_is_without_a_name(names: list[str]) -> None:
    read = tensors_reader(signature(*(field(name, "INT8") for name in names)))
    assert read is not None
    inputs = [{"name": name, "datatype": "INT8", "shape": [1], "data": [1]} for name in names]
    assert read(json.dumps({"inputs": inputs}).encode()) is not None
    del inputs[0]["name"]
    assert read(json.dumps({"inputs": inputs}).encode()) is None


def test_right_rows_are_read_at_once() -> None:
    read = rows_reader(signature(field("a b", "FP64", nullable=True), field("c", "INT64"), field("d", "BYTES")))
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
    read = rows_reader(signature(field("x", "FP64")))
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
    assert rows_reader(signature(one)) is None
    assert (tensors_reader(signature(one)) is None) == ('"' not in one["name"])


def test_a_general_refusal_is_not_lost() -> None:
    known = signature(field("x", "INT8"))
    read = rows_reader(known)
    assert read is not None
    assert read(b'[{"x": 300}]') is None
    with pytest.raises(Refused, match="row 0, field 'x': expected an integer from -128 to 127"):
        known.check(known.columns_of([{"x": 300}]))
