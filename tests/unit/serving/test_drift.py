"""Training's profile and what the server counts against it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modelyard.client import profile
from modelyard.client.signature import ExampleError, of_columns, of_tensor
from modelyard.serving import drift
from modelyard.serving.board import Board
from modelyard.serving.metrics import Metrics
from modelyard.serving.model import Model
from modelyard.serving.signature import Signature

FRAME = pd.DataFrame(
    {
        "age": [*range(100)],
        "weight": [None if i % 10 == 0 else float(i) for i in range(100)],
        "town": ["north" if i % 2 else "south" for i in range(100)],
        "flag": [i % 4 == 0 for i in range(100)],
        "name": [f"person {i}" for i in range(100)],
        "always": [7] * 100,
        "at": pd.date_range("2026-01-01", periods=100),
    }
)


def described(frame: pd.DataFrame) -> dict[str, Any]:
    return {"kind": "columns", "inputs": of_columns({name: frame[name] for name in frame.columns}, lambda _: False)}


def counts(board: Board, found: drift.Drift) -> dict[tuple[str, str], int]:
    assert board.processes
    return {(labels["feature"], labels["bin"]): count for labels, count, _ in found.lines() if count}


def test_bins_hold_about_as_many_rows_each() -> None:
    found = profile.of(FRAME, FRAME[:5], described(FRAME))
    assert found["age"]["edges"] == [10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert found["age"]["counts"] == [11, 10, 10, 10, 10, 10, 10, 10, 10, 9, 0]
    assert found["weight"]["counts"][-1] == 10, "missing"
    assert (found["town"]["values"], found["town"]["counts"]) == (["north", "south"], [50, 50, 0, 0])
    assert (found["flag"]["values"], found["flag"]["counts"]) == ([False, True], [75, 25, 0, 0])
    assert (found["always"]["edges"], found["always"]["counts"]) == ([], [100, 0])
    assert sum(found["name"]["counts"]) == 100
    assert "at" not in found


def test_what_few_rows_have_is_not_kept() -> None:
    rare = pd.DataFrame({"name": [f"person {i}" for i in range(1000)]})
    assert profile.of(rare, rare[:5], described(rare)) == {}


def test_training_must_be_like_the_example() -> None:
    with pytest.raises(ExampleError, match="no column town"):
        profile.of(FRAME.drop(columns="town"), FRAME[:5], described(FRAME))
    with pytest.raises(ExampleError, match="one kind"):
        profile.of(np.zeros((3, 7)), FRAME[:5], described(FRAME))
    array = np.zeros((30, 4))
    tensor = {"kind": "tensor", "inputs": of_tensor(array)}
    with pytest.raises(ExampleError, match="another shape"):
        profile.of(np.zeros((30, 5)), array, tensor)


def test_an_example_alone_is_enough_when_it_is_large() -> None:
    assert profile.of(None, FRAME[:5], described(FRAME)) == {}
    assert "age" in profile.of(None, FRAME, described(FRAME))


def test_inputs_are_counted_in_trainings_bins() -> None:
    board = Board()
    found = drift.Drift(profile.of(FRAME, FRAME[:5], described(FRAME)), board)
    columns: dict[str, list[Any]] = {
        "age": [-5, 10, 11, 1000],
        "weight": [None, None, 3.0, 3.0],
        "town": ["north", "west", None, "north"],
        "flag": [True, True, True, False],
        "name": ["a", "b", "c", "d"],
        "always": [7, 7, 7, 8],
    }
    found.observe(columns, 4)
    counted = counts(board, found)
    assert counted["age", "<=10"] == 2
    assert counted["age", "<=20"] == 1
    assert counted["age", ">90"] == 1
    assert counted["weight", "missing"] == 2
    assert counted["town", "=north"] == 2
    assert counted["town", "other"] == 1
    assert counted["town", "missing"] == 1
    assert counted["flag", "=True"] == 3
    shares = [share for labels, _, share in found.lines() if labels["feature"] == "town"]
    assert shares == [0.5, 0.5, 0, 0]


def test_a_tensors_positions_are_features() -> None:
    array = np.array([[i, -i] for i in range(50)], float)
    found = drift.Drift(profile.of(array, array[:5], {"kind": "tensor", "inputs": of_tensor(array)}), board := Board())
    found.observe({"input": [[100.0, 100.0]]}, 1)
    assert counts(board, found) == {("input[0]", ">45.0"): 1, ("input[1]", ">-4.0"): 1}


def test_only_so_many_rows_a_second_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 5.0
    monkeypatch.setattr("modelyard.serving.drift.time.monotonic", lambda: now)
    found = drift.Drift(profile.of(FRAME, FRAME[:5], described(FRAME)), board := Board())
    rows = {str(name): [value] * 600 for name, value in FRAME.iloc[1].items() if name != "at"}
    for _ in range(4):
        found.observe(rows, 600)
    assert sum(count for (name, _), count in counts(board, found).items() if name == "age") == 1000
    now = 6.0
    found.observe(rows, 600)
    assert sum(count for (name, _), count in counts(board, found).items() if name == "age") == 1600


def test_metrics_show_them_by_feature_and_no_line_comes_twice() -> None:
    field = {"name": "town", "datatype": "BYTES", "shape": [-1], "nullable": True}
    signature = Signature.from_json({"kind": "columns", "inputs": [field], "outputs": [field]})
    towns = pd.DataFrame({"town": ["other", "missing", 'a "b"\n', "c"] * 10})
    facts = {"profile": profile.of(towns, towns[:5], described(towns))}
    metrics = Metrics(Model("m", "1", "1", "sha256:0", facts, signature, {"town": ["c"]}), Board())
    metrics.add_routes(["/predict"])
    metrics.predicted({"town": ["other", None, "new"]}, 3)
    lines = metrics.text(ready=True, restarts=0).splitlines()
    names = [line.rpartition(" ")[0] for line in lines if not line.startswith("#")]
    assert len(names) == len(set(names))
    assert 'modelyard_input_values_total{feature="town",bin="=other"} 1' in lines
    assert 'modelyard_input_values_total{feature="town",bin="other"} 1' in lines
    assert 'modelyard_training_share{feature="town",bin="=a \\"b\\"\\n"} 0.25' in lines
    assert all(re.fullmatch(r"[a-z_]+(\{.*\})? [0-9.e+-]+|# (HELP|TYPE) .+", line) for line in lines)
