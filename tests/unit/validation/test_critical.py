from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import ProjectError
from modelyard.validation import critical, predictions
from modelyard.validation.scoring import ModelError


def written(tmp_path: Path, text: str) -> list[predictions.CriticalPrediction]:
    path = tmp_path / "critical.jsonl"
    path.write_text(text)
    return predictions.read(path, "critical.jsonl")


def answering(**outputs: Any) -> Any:
    return lambda _request: {name: [value] for name, value in outputs.items()}


@pytest.mark.parametrize(
    ("line", "outputs", "passed"),
    [
        ('{"inputs": {"a": 1}, "expected": 41.5, "tolerance": 0.1}', {"prediction": 41.6}, True),
        ('{"inputs": {"a": 1}, "expected": 41.5, "tolerance": 0.1}', {"prediction": 41.61}, False),
        ('{"inputs": {"a": 1}, "expected": 2}', {"prediction": 2.0}, True),
        ('{"inputs": {"a": 1}, "expected": 2}', {"prediction": None}, False),
        ('{"inputs": {"a": 1}, "expected": 1}', {"prediction": True}, False),
        ('{"inputs": {"a": 1}, "expected": "cat"}', {"prediction": "cat"}, True),
        ('{"inputs": {"a": 1}, "expected": "cat"}', {"prediction": "dog"}, False),
        ('{"inputs": {"a": 1}, "expected": [0.2, 0.8], "tolerance": 0.01}', {"prediction": [0.2, 0.805]}, True),
        ('{"inputs": {"a": 1}, "expected": [0.2, 0.8]}', {"prediction": [0.2]}, False),
        ('{"inputs": {"a": 1}, "expected": {"prediction": 1}}', {"prediction": 1, "probability": [0, 1]}, True),
        ('{"inputs": {"a": 1}, "expected": {"probability": [0, 1]}}', {"prediction": 9, "probability": [0, 1]}, True),
        ('{"inputs": {"a": 1}, "expected": {"certainty": 1}}', {"prediction": 1}, False),
    ],
)
def test_an_answer_is_as_expected_or_not(tmp_path: Path, line: str, outputs: dict[str, Any], passed: bool) -> None:
    (result,) = critical.replay(written(tmp_path, line), answering(**outputs))
    assert result.passed is passed


def test_each_row_is_asked_by_itself(tmp_path: Path) -> None:
    asked = []

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request)
        return {"prediction": [1]}

    critical.replay(
        written(tmp_path, '{"inputs": {"a": 1, "b": "x"}, "expected": 1}\n{"inputs": [[1, 2]], "expected": 1}'), ask
    )
    assert asked == [{"columns": {"a": [1], "b": ["x"]}}, {"tensor": {"data": [[[1, 2]]], "shape": [1, 1, 2]}}]


def test_the_gate_names_line_expected_and_found(tmp_path: Path) -> None:
    lines = written(
        tmp_path, '{"inputs": {"a": 1}, "expected": 1}\n\n{"inputs": {"a": 2}, "expected": 5, "tolerance": 2}'
    )
    gate = critical.gate(critical.replay(lines, answering(prediction=1)), "critical.jsonl")
    assert not gate.passed
    assert (gate.expected, gate.found) == ("2 as expected", "1 as expected")
    assert gate.why == "critical.jsonl:3: expected 5 within 2, found 1"


def test_inputs_that_the_model_refuses_fail_their_line_alone(tmp_path: Path) -> None:
    def ask(request: dict[str, Any]) -> dict[str, Any]:
        if "b" in request["columns"]:
            raise ModelError("there is no column 'b'")
        return {"prediction": [1]}

    results = critical.replay(
        written(tmp_path, '{"inputs": {"b": 1}, "expected": 1}\n{"inputs": {"a": 1}, "expected": 1}'), ask
    )
    assert [result.passed for result in results] == [False, True]
    assert "there is no column 'b'" in critical.gate(results, "critical.jsonl").why


def test_many_failures_are_cut_short(tmp_path: Path) -> None:
    lines = written(tmp_path, '{"inputs": {"a": 1}, "expected": 1}\n' * 30)
    why = critical.gate(critical.replay(lines, answering(prediction=2)), "critical.jsonl").why.splitlines()
    assert len(why) == 11
    assert why[-1].startswith("… and 20 more")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "critical.jsonl:1: This is no JSON"),
        ('{"expected": 1}', "has no `inputs`"),
        ('\n{"inputs": {"a": 1}}', "critical.jsonl:2: It has no `expected`"),
        ('{"inputs": 3, "expected": 1}', "has no `inputs`"),
        ('{"inputs": {}, "expected": 1, "tolerance": -1}', "`tolerance` is -1, and should be a number"),
        ('{"inputs": {}, "expected": 1, "tolerance": "x"}', "`tolerance` is 'x'"),
        ('{"inputs": {}, "expected": 1, "tolerance": NaN}', "`tolerance` is nan"),
        ('{"inputs": {}, "expected": 1, "tolerence": 0.1}', "It has the unknown key 'tolerence'"),
        ("[]", "has no `inputs`"),
        ("\n", "holds no prediction"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ProjectError, match=told):
        written(tmp_path, text)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="cannot be read"):
        predictions.read(tmp_path / "nowhere.jsonl", "nowhere.jsonl")
