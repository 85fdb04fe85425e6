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
    sizes = [0.0 if size is None else size for size in columns["size"]]
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
    assert [exchange.outputs is None for exchange in transcript] == [False, False, True]
    assert transcript.rows == 4


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
