from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from modelyard.client import flavors
from modelyard.client.flavors import FlavorError
from modelyard.client.loaded import LoadedModel
from modelyard.client.model import write_model
from modelyard.client.signature import ExampleError

FRAME = pd.DataFrame(
    {
        "rooms": [1, 2, 3, 4] * 5,
        "area": [30.5, None, 80.0, 120.25] * 5,
        "district": ["north", "south", None, "north"] * 5,
        "heated": [True, False, True, True] * 5,
    }
)
LABELS = np.array(["cheap", "cheap", "dear", "dear"] * 5)


def mixed_model() -> Any:
    return make_pipeline(
        make_column_transformer(
            (make_pipeline(SimpleImputer(), StandardScaler()), ["rooms", "area"]),
            (OneHotEncoder(handle_unknown="ignore"), ["district"]),
            remainder="passthrough",
        ),
        LogisticRegression(),
    ).fit(FRAME, LABELS)


def facts_of(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "modelyard.json").read_bytes())
    return facts


def test_a_pipeline_over_mixed_columns_is_described_whole(tmp_path: Path):
    model = mixed_model()
    write_model(tmp_path, model, FRAME[:3])
    facts = facts_of(tmp_path)
    described = {entry["name"]: (entry["datatype"], entry["nullable"]) for entry in facts["signature"]["inputs"]}
    assert described == {
        "rooms": ("INT64", False),
        "area": ("FP64", True),
        "district": ("BYTES", True),
        "heated": ("BOOL", False),
    }
    assert [entry["name"] for entry in facts["signature"]["outputs"]] == ["prediction", "probability"]
    assert (facts["task"], facts["classes"], facts["flavor"]) == ("classification", ["cheap", "dear"], "sklearn")
    assert facts["golden"]["inputs"][1] == {"rooms": 2, "area": None, "district": "south", "heated": False}
    assert facts["golden"]["outputs"]["prediction"] == model.predict(FRAME[:3]).tolist()
    assert facts["golden"]["outputs"]["probability"] == model.predict_proba(FRAME[:3]).tolist()
    assert facts["packages"]["scikit-learn"]


def test_the_loaded_model_answers_as_the_one_in_memory(tmp_path: Path):
    model = mixed_model()
    write_model(tmp_path, model, FRAME[:3])
    request = {"columns": {"heated": [True], "rooms": [3], "district": ["south"], "area": [None]}}
    row = pd.DataFrame({"rooms": [3], "area": [np.nan], "district": ["south"], "heated": [True]})
    assert LoadedModel.load(tmp_path).answer(request) == {
        "prediction": model.predict(row).tolist(),
        "probability": model.predict_proba(row).tolist(),
    }
    assert LoadedModel.load(tmp_path).answer(request | {"outputs": ["prediction"]}) == {
        "prediction": model.predict(row).tolist()
    }
    assert "probability" in LoadedModel.load(tmp_path).answer(request | {"outputs": ["probability"]})


def test_the_same_model_is_the_same_bytes(tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_model(tmp_path / name, mixed_model(), FRAME[:3])
    for file in ("model.joblib", "modelyard.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_category_columns_come_back_as_categories(tmp_path: Path):
    frame = pd.DataFrame({"size": pd.Categorical(["s", "m", "l"] * 20), "n": range(60)})
    model = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=5).fit(frame, [0, 1, 1] * 20)
    write_model(tmp_path, model, frame[:2])  # proves itself: the loaded model must answer alike
    assert LoadedModel.load(tmp_path).answer({"columns": {"size": ["l"], "n": [3]}})["prediction"] == [1]


def test_an_array_is_a_tensor(tmp_path: Path):
    rows = np.arange(12, dtype="float32").reshape(6, 2)
    model = LinearRegression().fit(rows, rows[:, 0])
    write_model(tmp_path, model, rows[:2])
    facts = facts_of(tmp_path)
    assert facts["signature"]["kind"] == "tensor"
    assert facts["signature"]["inputs"][0]["shape"] == [-1, 2]
    assert facts["signature"]["inputs"][0]["datatype"] == "FP32"
    assert facts["task"] == "regression"
    answer = LoadedModel.load(tmp_path).answer({"tensor": {"data": [4, 5], "shape": [1, 2]}})
    assert answer["prediction"] == pytest.approx([4.0], abs=1e-4)


def test_text_and_dictionaries_are_rows_too(tmp_path: Path):
    texts = ["good day", "bad day", "good", "bad"]
    write_model(tmp_path, make_pipeline(TfidfVectorizer(), LinearSVC()).fit(texts, [1, 0, 1, 0]), texts[:2])
    assert facts_of(tmp_path)["signature"]["inputs"][0] == {
        "name": "input", "datatype": "BYTES", "shape": [-1], "nullable": False, "dtype": "object",
    }  # fmt: skip
    rows = [{"city": "a", "n": 1}, {"city": "b", "n": 2}] * 3
    folder = tmp_path / "rows"
    folder.mkdir()
    write_model(folder, make_pipeline(DictVectorizer(), LogisticRegression()).fit(rows, [0, 1] * 3), rows[:2])
    assert LoadedModel.load(folder).answer({"columns": {"n": [2], "city": ["b"]}})["prediction"] == [1]


def test_code_of_the_script_itself_is_refused(tmp_path: Path):
    def square(x: Any) -> Any:
        return x * x

    square.__module__, square.__qualname__ = "__main__", "square"
    import __main__

    __main__.square = square
    try:
        model = make_pipeline(FunctionTransformer(square), LinearRegression()).fit(np.array([[1.0], [2.0]]), [1.0, 4.0])
        with pytest.raises(FlavorError, match="move it to a module"):
            write_model(tmp_path, model, np.array([[1.0]]))
    finally:
        del __main__.square


class Forgetful(LinearRegression):  # type: ignore[misc]
    """Leaves out of its file what it has learned."""

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "coef_": self.coef_ * 0}


def test_a_model_that_answers_otherwise_once_loaded_is_refused(tmp_path: Path):
    rows = np.array([[1.0], [2.0]])
    with pytest.raises(ExampleError, match=r"'prediction' was \[1\.0, 2\.0\], is"):
        write_model(tmp_path, Forgetful(fit_intercept=False).fit(rows, [1.0, 2.0]), rows)


@pytest.mark.parametrize(
    ("example", "says"),
    [(FRAME[:0], "no row"), (pd.DataFrame({"rooms": [None]}), "holds no value"), (5, "no row")],
)
def test_an_example_that_describes_nothing_is_refused(tmp_path: Path, example: Any, says: str):
    with pytest.raises(ExampleError, match=says):
        write_model(tmp_path, mixed_model(), example)


def test_a_model_of_no_known_flavor_is_refused_with_a_way_out(tmp_path: Path):
    with pytest.raises(FlavorError, match="flavor='python'"):
        write_model(tmp_path, object(), FRAME[:1])


@pytest.mark.parametrize("flavor", ["xgboost", "lightgbm", "onnx", "torch", "keras", "tensorflow", "pyfunc", "python"])
def test_a_model_of_another_flavor_than_named_is_refused(tmp_path: Path, flavor: str):
    with pytest.raises(FlavorError, match=f"flavor '{flavor}' takes"):
        write_model(tmp_path, object(), FRAME[:1], flavor=flavor)


@pytest.mark.parametrize(
    ("file", "flavor"),
    [("MLmodel", "pyfunc"), ("saved_model.pb", "tensorflow"), ("weights.bin", "python")],
)
def test_the_flavor_of_a_folder_is_told_by_what_is_in_it(tmp_path: Path, file: str, flavor: str):
    (tmp_path / file).write_bytes(b"")
    assert flavors.name_of(tmp_path) == flavors.name_of(str(tmp_path)) == flavor


def test_the_flavor_of_a_file_is_told_by_its_name(tmp_path: Path):
    (tmp_path / "model.onnx").write_bytes(b"")
    assert flavors.name_of(tmp_path / "model.onnx") == "onnx"
    with pytest.raises(FlavorError, match="of no flavor"):
        flavors.name_of(tmp_path / "missing.onnx")


def test_a_transformer_is_no_model(tmp_path: Path):
    with pytest.raises(FlavorError, match="no predict method"):
        write_model(tmp_path, StandardScaler().fit([[1.0]]), np.array([[1.0]]))


def test_how_the_training_rows_are_spread_is_kept(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": np.arange(40.0), "town": ["north", "south"] * 20})
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["town"]), remainder="passthrough"), LinearRegression()
    ).fit(table, table.x)
    for name, training in (("with", table), ("without", None)):
        (tmp_path / name).mkdir()
        write_model(tmp_path / name, model, table[:3], training=training)
    profile = json.loads((tmp_path / "with" / "modelyard.json").read_text())["profile"]
    assert profile["x"]["counts"] == [5, 4, 4, 4, 4, 4, 4, 4, 4, 3, 0]
    assert profile["town"] == {"input": "town", "values": ["north", "south"], "counts": [20, 20, 0, 0]}
    assert json.loads((tmp_path / "without" / "modelyard.json").read_text())["profile"] == {}
    with pytest.raises(ExampleError, match="no column town"):
        write_model(tmp_path / "with", model, table[:3], training=table[["x"]])
