"""What a model's process says, against its signature; value by value and at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelyard.serving.answers import Answers, settled
from modelyard.serving.messages import Refused
from modelyard.serving.signature import Field


def field(datatype: str, *sizes: int, name: str = "y") -> Field:
    return Field.from_json({"name": name, "datatype": datatype, "shape": [-1, *sizes]})


@pytest.mark.parametrize(
    ("datatype", "said", "answered"),
    [
        ("FP64", "[0.1, 3, null, 1e308, -0.5]", [0.1, 3, None, 1e308, -0.5]),
        ("FP64", "[NaN, 1]", [None, 1]),
        ("FP32", "[0.1, 16777216, 3.4028235e38]", [0.1, 16777216, 3.4028235e38]),
        ("INT64", "[2, 2.0, null, 9223372036854775807]", [2, 2, None, 2**63 - 1]),
        ("UINT64", "[18446744073709551615, 0]", [2**64 - 1, 0]),
        ("INT8", "[-128, 127]", [-128, 127]),
        ("BOOL", "[true, false, null]", [True, False, None]),
        ("BYTES", '["zw\\u00f6lf", "", null]', ["zwölf", "", None]),
    ],
)
def test_what_the_signature_promises_is_answered_unchanged(datatype: str, said: str, answered: list[Any]) -> None:
    found = Answers((field(datatype),)).read(f'{{"outputs": {{"y": {said}}}}}'.encode(), len(answered))
    assert found == {"y": answered}
    if datatype != "FP64":  # of which 3 and 3.0 are the same for a client
        assert list(map(type, found["y"])) == list(map(type, answered))
    assert settled(field(datatype), json.loads(said), len(answered)) == answered


@pytest.mark.parametrize(
    ("datatype", "said", "found"),
    [
        ("INT64", "2.5", "expected an integer (INT64) or null, found 2.5"),
        ("INT64", "9007199254740993.0", "found 9007199254740992.0"),
        ("INT64", "9223372036854775808", "found 9223372036854775808"),
        ("INT64", "true", "found true"),
        ("INT64", "Infinity", "found inf"),
        ("INT8", "300", "an integer from -128 to 127 (INT8) or null, found 300"),
        ("UINT64", "18446744073709551616", "found 18446744073709551616"),
        ("FP32", "1e39", "found 1e39"),
        ("FP32", "16777217", "found 16777217"),
        ("FP32", '"1"', 'found "1"'),
        ("FP64", "-Infinity", "found -inf"),
        ("FP64", "1e400", "found inf"),
        ("FP64", "false", "found false"),
        ("FP64", "[1]", "found [1]"),
        ("BOOL", "7", "found 7"),
        ("BYTES", "5", "expected text (BYTES) or null, found 5"),
        ("BYTES", '"\\ud800"', "found '\\ud800'"),
    ],
)
def test_what_it_does_not_is_refused_with_its_row(datatype: str, said: str, found: str) -> None:
    with pytest.raises(Refused) as refused:
        Answers((field(datatype),)).read(f'{{"outputs": {{"y": [null, {said}]}}}}'.encode(), 2)
    assert refused.value.status == 422
    start = "the model's answer is not what its signature says: row 1, output 'y': expected "
    assert refused.value.message.startswith(start)
    assert refused.value.message.endswith(found)


def test_rows_of_a_shape() -> None:
    answers = Answers((field("FP64", 2), field("INT64", -1, name='z"')))
    said = {"y": [[1.0, None], [2.5, 3.0]], 'z"': [[], [1, 2]]}
    assert answers.read(json.dumps({"outputs": {"more": 1, **said}}).encode(), 2) == said
    for wrong in ([[1.0]], [[1.0, 2.0, 3.0]], [1.0], [None], [[[1.0], [2.0]]]):
        with pytest.raises(Refused, match="row 0, output 'y': expected a list of shape 2"):
            answers.read(json.dumps({"outputs": {"y": wrong, 'z"': [[]]}}).encode(), 1)


def test_outputs_come_in_the_signatures_order_however_they_are_said() -> None:
    answers = Answers((field("FP64", name="first"), field("FP64", name="second")))
    assert list(answers.read(b'{"outputs": {"second": [1.0], "first": [2.0]}}', 1)) == ["first", "second"]


def test_of_outputs_that_are_not_wanted_nothing_is_asked() -> None:
    answers = Answers((field("FP64", name="first"), field("INT64", name="second")))
    assert answers.read(b'{"outputs": {"second": [1]}}', 1, ("second",)) == {"second": [1]}
    assert answers.read(b'{"outputs": {"second": [1.0], "first": [1.0]}}', 1, ("second",)) == {"second": [1]}
    with pytest.raises(Refused, match="it has no second"):
        answers.read(b'{"outputs": {"first": [1.0]}}', 1, ("second",))


def test_what_no_parser_takes_is_no_answer() -> None:
    answers = Answers((field("FP64"),))
    for broken in (b"", b"{", b"\xff"):
        with pytest.raises(ValueError, match=r".") as error:
            answers.read(broken, 1)
        assert not isinstance(error.value, Refused)
    with pytest.raises(Refused, match="nested too deeply"):
        answers.read(b'{"outputs": {"y": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}}", 1)
