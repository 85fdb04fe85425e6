from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelyard.compilation.parity import difference
from modelyard.compilation.transcript import Transcript, ask_golden
from modelyard.validation.scoring import Model, ModelError

SIGNATURE = {
    "kind": "columns",
    "inputs": [
        {"name": "size", "datatype": "FP64", "shape": [-1], "nullable": True},
        {"name": "place", "datatype": "BYTES", "shape": [-1], "nullable": False},
    ],
}
GOLDEN = {"inputs": [{"size": 1.0, "place": "here"}, {"size": 250000.0, "place": "there"}]}


def priced(request: dict[str, Any]) -> dict[str, Any]:
    """A model that knows two places, and refuses others."""
    columns = request["columns"]
    if not {"here", "there"}.issuperset(columns["place"]):
        raise ModelError("an unknown place")
    sizes = [0.0 if size is None else min(size, 1e6) for size in columns["size"]]
    return {"prediction": sizes, "probability": [[0.5, 0.5] for _ in sizes]}


@pytest.fixture
def transcript(tmp_path: Path) -> Transcript:
    transcript = Transcript(tmp_path / "transcript.jsonl")
    ask_golden(Model(transcript.of(priced), SIGNATURE, None, None), GOLDEN)
    return transcript


def test_golden_rows_and_what_a_client_may_send_besides(transcript: Transcript) -> None:
    requests = [exchange.request["columns"] for exchange in transcript]
    assert requests[0] == {"size": [1.0, 250000.0], "place": ["here", "there"]}
    assert requests[1] == {"size": [None], "place": ["here"]}
    assert requests[2]["place"] not in (["here"], ["there"])
    assert [request["size"] for request in requests[3:]] == [[5e-324], [1e300], [-1e300]]
    assert [exchange.outputs is None for exchange in transcript] == [False, False, True, False, False, False]
    assert transcript.rows == 7


def test_of_whole_numbers_it_is_asked_for_both_ends_and_of_a_tensor_for_its_first_number(tmp_path: Path) -> None:
    kinds = {"small": "INT8", "large": "UINT64", "narrow": "FP32", "good": "BOOL"}
    fields = [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in kinds.items()]
    transcript = Transcript(tmp_path / "columns")
    row = {"small": 1, "large": 2, "narrow": 3.0, "good": True}
    ask_golden(Model(transcript.of(lambda _: {}), {"kind": "columns", "inputs": fields}, None, None), {"inputs": [row]})
    asked = [exchange.request["columns"] for exchange in transcript][1:]
    found = [(name, values[0]) for columns in asked for name, values in columns.items() if values[0] != row[name]]
    assert found == [
        *(("large", 0), ("narrow", 1.4e-45), ("small", 127), ("small", -128)),
        *(("large", 2**64 - 1), ("narrow", 3e38), ("narrow", -3e38)),
    ]
    transcript = Transcript(tmp_path / "tensor")
    field = {"name": "input", "datatype": "FP64", "shape": [-1, 2, 1]}
    model = Model(transcript.of(lambda _: {}), {"kind": "tensor", "inputs": [field]}, None, None)
    ask_golden(model, {"inputs": [[[1.0], [2.0]], [[3.0], [4.0]]]})
    extremes = [exchange.request["tensor"] for exchange in transcript][1:]
    assert extremes == [{"data": [[[value], [2.0]]], "shape": [1, 2, 1]} for value in (5e-324, 1e300, -1e300)]


def test_numbers_beyond_32_bits_may_be_refused_and_not_answered_otherwise(transcript: Transcript) -> None:
    def narrow(request: dict[str, Any]) -> dict[str, Any]:
        if any(abs(size or 0) > 1e38 for size in request["columns"]["size"]):
            raise ModelError("beyond 32 bits")
        return priced(request)

    def careless(request: dict[str, Any]) -> dict[str, Any]:
        return {**priced(request), "prediction": [min(size or 0, 1e5) for size in request["columns"]["size"]]}

    assert difference(transcript, narrow) == ""
    assert difference(transcript, careless).startswith("answers prediction 100000.0 to row 2")


def test_an_infinite_answer_is_a_refusal(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "transcript.jsonl")
    squared = transcript.of(lambda request: {"prediction": [v * v for v in request["columns"]["size"]]})
    squared({"columns": {"size": [2.0]}})
    squared({"columns": {"size": [1e200]}})

    def refusing(request: dict[str, Any]) -> dict[str, Any]:
        if request["columns"]["size"] != [2.0]:
            raise ModelError("infinite")
        return {"prediction": [4.0]}

    assert difference(transcript, refusing) == ""
    assert "answers what the model refuses" in difference(transcript, lambda _: {"prediction": [4.0]})


def test_an_equal_form(transcript: Transcript) -> None:
    assert difference(transcript, priced) == ""


def test_rounding_is_of_the_largest_answer(transcript: Transcript) -> None:
    def rounded(off: float) -> Any:
        return lambda request: {**priced(request), "prediction": [v + off for v in priced(request)["prediction"]]}

    assert difference(transcript, rounded(2.4)) == ""
    assert "to row 1, where the model answers 1.0" in difference(transcript, rounded(2.6))


def test_another_answer_names_the_row(transcript: Transcript) -> None:
    def other(request: dict[str, Any]) -> dict[str, Any]:
        return {**priced(request), "probability": [[0.5, 0.5], [0.6, 0.4]]}

    assert (
        difference(transcript, other) == "answers probability [0.6, 0.4] to row 2, where the model answers [0.5, 0.5]"
    )


def test_what_the_model_refuses_must_be_refused(transcript: Transcript) -> None:
    def careless(request: dict[str, Any]) -> dict[str, Any]:
        return priced({"columns": {**request["columns"], "place": ["here"] * len(request["columns"]["place"])}})

    assert "answers what the model refuses" in difference(transcript, careless)


def test_what_the_model_answers_must_be_answered(transcript: Transcript) -> None:
    def picky(request: dict[str, Any]) -> dict[str, Any]:
        if None in request["columns"]["size"]:
            raise ModelError("no size")
        return priced(request)

    assert difference(transcript, picky) == "refuses what the model answers: no size"
