"""The real server with a real compiled model: scikit-learn's pipeline as ONNX, text and missing values in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.fixtures_compilation import Workshop
from tests.integration.serving.conftest import Running, Start

MODEL = """
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
table = pd.read_csv(HOUSES / "houses.csv")
X, y = table.drop(columns="price"), table.price.map(lambda price: "dear" if price > 300000 else "cheap")
encoder, years = OneHotEncoder(handle_unknown="ignore"), SimpleImputer(strategy="median")
prepared = make_column_transformer((encoder, ["district", "garden"]), (years, ["year"]), remainder="passthrough")
model = make_pipeline(prepared, LogisticRegression(max_iter=5000)).fit(X, y)
example = X[:5]
"""


@pytest.fixture(scope="module")
def root(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image's folder with neither environment nor project."""
    folder = tmp_path_factory.mktemp("compiled")
    workshop.write(folder, MODEL)
    workshop.compile(folder, "float32")
    (folder / "model" / "model.joblib").unlink()
    return folder


@pytest.fixture(scope="module")
def compiled(start: Start, root: Path) -> Running:
    return start(root)


def golden(root: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((root / "model" / "modelyard.json").read_bytes())
    kept: dict[str, Any] = facts["golden"]
    return kept


def test_it_answers_as_at_training_without_a_process_of_the_project(compiled: Running, root: Path) -> None:
    kept = golden(root)
    predictions = compiled.post("/predict", kept["inputs"]).json["predictions"]
    assert [one["prediction"] for one in predictions] == kept["outputs"]["prediction"]
    for one, probability in zip(predictions, kept["outputs"]["probability"], strict=True):
        assert one["probability"] == pytest.approx(probability, abs=1e-6)
    assert psutil.Process(compiled.process.pid).children() == []


def test_every_contract_gives_the_same(compiled: Running, root: Path) -> None:
    kept = golden(root)
    expected = kept["outputs"]["prediction"]
    assert compiled.post("/invocations", {"dataframe_records": kept["inputs"]}).json["predictions"] == expected
    instances = compiled.post("/v1/models/sum:predict", {"instances": kept["inputs"]}).json["predictions"]
    assert [one["prediction"] for one in instances] == expected
    metadata = compiled.get("/v2/models/sum").json
    tensors = [
        {
            "name": one["name"],
            "shape": [len(expected), 1],
            "datatype": one["datatype"],
            "data": [row[one["name"]] for row in kept["inputs"]],
        }
        for one in metadata["inputs"]
    ]
    outputs = compiled.post("/v2/models/sum/infer", {"inputs": tensors}).json["outputs"]
    assert outputs[0]["data"] == expected
    assert outputs[1]["shape"] == [len(expected), 2]


def test_many_rows_are_answered_beside_others(compiled: Running, root: Path) -> None:
    kept = golden(root)
    rows = kept["inputs"] * 2000
    predictions = compiled.post("/predict", rows).json["predictions"]
    assert [one["prediction"] for one in predictions] == kept["outputs"]["prediction"] * 2000


def test_a_missing_value_and_a_text_never_seen(compiled: Running, root: Path) -> None:
    row = golden(root)["inputs"][0]
    assert compiled.post("/predict", [{**row, "year": None}]).status == 200
    assert compiled.post("/predict", [{**row, "district": "nowhere"}]).status == 200
    assert compiled.post("/predict", [{**row, "area": 1e300}]).status == 422  # no number of 32 bits
    refused = compiled.post("/predict", [{**row, "rooms": "three"}])
    assert (refused.status, refused.json["problems"][0]["field"]) == (422, "rooms")


def test_a_compiled_model_that_cannot_be_loaded_is_told(start: Start, root: Path, tmp_path: Path) -> None:
    (tmp_path / "model" / "compiled").mkdir(parents=True)
    (tmp_path / "model" / "modelyard.json").write_bytes((root / "model" / "modelyard.json").read_bytes())
    (tmp_path / "model" / "compiled" / "model.onnx").write_bytes(b"no model")
    broken = start(tmp_path, ready=False)
    assert broken.process.wait(20) == 1
    assert "cannot start: onnxruntime cannot load compiled/model.onnx" in broken.log.read_text()
