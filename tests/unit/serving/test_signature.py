from __future__ import annotations

from typing import Any

import pytest

from modelyard.serving.messages import Refused
from modelyard.serving.signature import Signature, shown


def signature(datatype: str, shape: list[int] | None = None, *, nullable: bool = False) -> Signature:
    field = {"name": "x", "datatype": datatype, "shape": shape or [-1], "nullable": nullable}
    return Signature.from_json({"kind": "columns", "inputs": [field], "outputs": []})


@pytest.mark.parametrize(
    ("datatype", "value", "expected"),
    [
        ("INT8", -128, -128),
        ("UINT8", 255, 255),
        ("INT64", 2**63 - 1, 2**63 - 1),
        ("UINT64", 2**64 - 1, 2**64 - 1),
        ("INT32", 3.0, 3),
        ("INT64", 2.0**53 - 1, 2**53 - 1),
        ("FP64", 3, 3.0),
        ("FP64", 0.1, 0.1),
        ("FP32", 0.1, 0.1),
        ("FP32", 2**24, float(2**24)),
        ("FP16", 2048, 2048.0),
        ("BOOL", True, True),
        ("BYTES", "", ""),
    ],
)
def test_takes_every_value_of_the_type_unchanged(datatype: str, value: object, expected: object) -> None:
    checked = signature(datatype).check({"x": [value]})["x"][0]
    assert checked == expected
    assert type(checked) is type(expected)


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("INT8", 128),
        ("UINT8", -1),
        ("INT64", 2**63),
        ("INT64", 2.5),
        ("INT64", 1e300),
        ("INT64", 9007199254740993.0),
        ("UINT64", 2.0**53),
        ("INT64", "3"),
        ("INT64", True),
        ("INT64", None),
        ("FP64", 2**53 + 1),
        ("FP64", 10**400),
        ("FP64", "0.5"),
        ("FP64", False),
        ("FP32", 1e39),
        ("FP32", 2**24 + 1),
        ("FP16", 2049),
        ("FP16", 65536),
        ("BOOL", 1),
        ("BYTES", 1),
        ("BYTES", ["a"]),
        ("BYTES", "\ud800"),
    ],
)
def test_refuses_what_would_have_to_be_changed(datatype: str, value: object) -> None:
    with pytest.raises(Refused) as refused:
        signature(datatype).check({"x": [value]})
    assert refused.value.status == 422
    assert refused.value.problems[0]["field"] == "x"


def test_null_only_where_the_model_saw_it() -> None:
    assert signature("FP64", nullable=True).check({"x": [None, 1.0]}) == {"x": [None, 1.0]}
    with pytest.raises(Refused, match=r"row 1, field 'x': expected a number .FP64., found null"):
        signature("FP64").check({"x": [1.0, None]})


def test_shapes_inside_a_row() -> None:
    assert signature("INT64", [-1, 2, -1]).check({"x": [[[1, 2.0], [3]]]}) == {"x": [[[1, 2], [3]]]}
    for wrong in ([[1]], [1, 2], [[1], ["2"]], 7, None):
        with pytest.raises(Refused, match="a list of shape 2×any"):
            signature("INT64", [-1, 2, -1]).check({"x": [wrong]})


def test_names_every_problem_up_to_ten() -> None:
    with pytest.raises(Refused) as refused:
        signature("INT64").check({"x": ["a", 1, "b"]})
    assert [(problem["row"], problem["found"]) for problem in refused.value.problems] == [(0, '"a"'), (2, '"b"')]
    assert str(refused.value).endswith("(and 1 more)")
    with pytest.raises(Refused) as refused:
        signature("INT64").check({"x": ["a"] * 1000})
    assert len(refused.value.problems) == 10


@pytest.fixture
def house() -> Signature:
    fields = [{"name": name, "datatype": "FP64", "shape": [-1]} for name in ("area", "rooms")]
    return Signature.from_json({"kind": "columns", "inputs": fields, "outputs": []})


def test_rows_become_columns_and_back(house: Signature) -> None:
    rows = [{"rooms": 2, "area": 50.5}, {"area": 70.0, "rooms": 3}]
    columns = house.columns_of(rows)
    assert columns == {"area": [50.5, 70.0], "rooms": [2, 3]}
    assert house.rows_of(columns) == rows


@pytest.mark.parametrize("rows", [[], {}, "x", None, 3])
def test_rows_are_a_list_that_is_not_empty(house: Signature, rows: Any) -> None:
    with pytest.raises(Refused, match="at least one row") as refused:
        house.columns_of(rows)
    assert refused.value.status == 400


def test_missing_and_unknown_fields_are_named_with_the_nearest_known(house: Signature) -> None:
    with pytest.raises(Refused) as refused:
        house.columns_of([{"area": 1, "rooms": 1}, {"area": 1, "room": 1}, 5])
    assert [(problem["row"], problem["field"]) for problem in refused.value.problems] == [
        (1, "rooms"),
        (1, "room"),
        (2, None),
    ]
    assert "did you mean 'rooms'?" in refused.value.problems[1]["expected"]


def test_positional_rows(house: Signature) -> None:
    assert house.positional([[1, 2]]) == [{"area": 1, "rooms": 2}]
    assert house.positional([[1, 2]], ["rooms", "area"]) == [{"rooms": 1, "area": 2}]
    with pytest.raises(Refused, match=r"row 1: expected 2 values .area, rooms., found 3"):
        house.positional([[1, 2], [1, 2, 3]])


def test_a_signature_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="INT7"):
        signature("INT7")
    with pytest.raises(ValueError, match="neither columns nor tensor"):
        Signature.from_json({"kind": "graph", "inputs": [], "outputs": []})


def test_values_in_messages_are_short() -> None:
    assert shown("x" * 1000) == '"' + "x" * 56 + "…"
    assert shown(list(range(1000))) == "a list of 1000"
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "a deeply nested value"


def test_nan_is_missing_and_infinity_is_refused() -> None:
    assert signature("FP64", nullable=True).check({"x": [float("nan"), 1.0]}) == {"x": [None, 1.0]}
    for value in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(Refused, match=f"expected a number .FP64., found {value}"):
            signature("FP64").check({"x": [value]})


def test_a_message_stays_short_whatever_is_sent(house: Signature) -> None:
    rows = [{f"{'unknown' * 1000}{number}": 1 for number in range(1000)}]
    with pytest.raises(Refused) as refused:
        house.columns_of(rows)
    assert len(refused.value.problems) == 10
    assert len(str(refused.value.problems)) < 3000
    wide = [{"name": f"x{number}", "datatype": "FP64", "shape": [-1]} for number in range(5000)]
    with pytest.raises(Refused) as refused:
        Signature.from_json({"kind": "columns", "inputs": wide, "outputs": []}).columns_of([{}, 1])
    assert len(refused.value.problems) == 10
