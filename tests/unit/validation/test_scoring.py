from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelyard.store.records import DataFingerprint
from modelyard.validation import scoring
from modelyard.validation.scoring import Model, ModelError, Scored, score_on


def signature(datatype: str) -> dict[str, Any]:
    return {
        "kind": "columns",
        "inputs": [{"name": "x", "datatype": "INT64", "shape": [-1]}],
        "outputs": [{"name": "prediction", "datatype": datatype, "shape": [-1]}],
    }


def run(tmp_path: Path, content: str, ask: scoring.Ask, datatype: str = "INT64", target: str | None = "y") -> Scored:
    path = tmp_path / "test.csv"
    path.write_text(content)
    data = DataFingerprint("test", "evaluation", "test.csv", "sha256:0", 1, 1, None, target, "csv")
    model = Model(ask, signature(datatype), "classification", None)
    return score_on(data, path, model, ["accuracy"], lambda _line: None)


def echo(request: dict[str, Any]) -> dict[str, Any]:
    return {"prediction": request["columns"]["x"]}


def test_all_rows_are_asked_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_ROWS_AT_ONCE", 2)
    found = run(tmp_path, "x,y\n1,1\n2,2\n3,0\n4,4\n5,5\n", echo)
    assert found.answers is not None
    assert found.answers.prediction == [1, 2, 3, 4, 5]
    assert found.scores["accuracy"].value == 0.8


def test_labels_of_text_are_read_as_text(tmp_path: Path) -> None:
    found = run(tmp_path, "x,y\n1,01\n2,02\n", lambda _request: {"prediction": ["01", "02"]}, datatype="BYTES")
    assert found.scores["accuracy"].value == 1.0


def broken(_request: dict[str, Any]) -> dict[str, Any]:
    raise ModelError("its server answers 500: oh")


@pytest.mark.parametrize(
    ("content", "ask", "why"),
    [
        ("x,y\n1,1\n", broken, "its server answers 500: oh"),
        ("x,y\n1,1\n", lambda _request: {"prediction": []}, "answered 0 of 1 rows"),
        ("x,y\n1,1\n", lambda _request: {"other": [1]}, "answered other, and no 'prediction'"),
        ("x,z\n1,1\n", echo, "data set 'test' cannot be scored: it has no column 'y'"),
        ("z,y\n1,1\n", echo, "the data lack 'x'"),
        ("", echo, "not readable as csv"),
    ],
)
def test_what_cannot_be_scored_says_why(tmp_path: Path, content: str, ask: scoring.Ask, why: str) -> None:
    found = run(tmp_path, content, ask)
    assert found.scores == {}
    assert why in found.why


def test_progress_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_ROWS_AT_ONCE", 1)
    monkeypatch.setattr(scoring, "_PROGRESS_SECONDS", 0.0)
    path = tmp_path / "test.csv"
    path.write_text("x,y\n1,1\n2,2\n")
    data = DataFingerprint("test", "evaluation", "test.csv", "sha256:0", 1, 1, None, "y", "csv")
    told: list[str] = []
    score_on(data, path, Model(echo, signature("INT64"), "classification", None), [], told.append)
    assert told == ["test: 1 of 2 rows", "test: 2 of 2 rows"]
