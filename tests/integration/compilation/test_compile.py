"""Real models, real converters, the real server's environment: who is compiled, and who is served as it is."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures_compilation import HOUSES, Workshop
from tests.fixtures_flavors import MakePython

from modelyard.client.plain import cells
from modelyard.compilation import Compilation, Transcript, ask_golden, compile_model
from modelyard.compilation.compile import compare
from modelyard.validation.candidate import loaded

# A minute each: two of them always, all of them with the other frameworks.
_MORE = pytest.mark.skipif(
    "MODELYARD_FRAMEWORKS" not in os.environ, reason="every kind of booster: make test-frameworks"
)
WINE = """
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
table = load_wine(as_frame=True)
X, y = table.data, table.target_names[table.target]
example = X[:5]
"""
HOUSE_PRICES = """
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
table = pd.read_csv(HOUSES / "houses.csv")
X, y = table.drop(columns="price"), table.price
example = X[:5]
encoder, years = OneHotEncoder(handle_unknown="ignore"), SimpleImputer(strategy="median")
prepared = make_column_transformer((encoder, ["district", "garden"]), (years, ["year"]), remainder="passthrough")
"""
BOOSTING = """
import lightgbm, xgboost
from sklearn.datasets import load_breast_cancer, load_diabetes
tumors, patients = load_breast_cancer(as_frame=True), load_diabetes(as_frame=True)
tumors_for_xgboost = xgboost.DMatrix(tumors.data, tumors.target)
tumors_for_lightgbm = lightgbm.Dataset(tumors.data, tumors.target)
"""

# A graph of one input a column, of three types; SHAPE is that of each.
GRAPH = """
import pandas as pd
from onnx import TensorProto, helper
kinds = {"size": TensorProto.FLOAT, "count": TensorProto.INT32, "good": TensorProto.BOOL}
nodes = [helper.make_node("Cast", [name], [f"{name}_as_number"], to=1) for name in kinds]
nodes.append(helper.make_node("Sum", [f"{name}_as_number" for name in kinds], ["sum"]))
inputs = [helper.make_tensor_value_info(name, kind, SHAPE) for name, kind in kinds.items()]
graph = helper.make_graph(nodes, "sum", inputs, [helper.make_tensor_value_info("sum", TensorProto.FLOAT, SHAPE)])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
example = pd.DataFrame({"good": [True, False], "count": pd.Series([3, 4], dtype="int32"), "size": [0.5, 2.0]})
"""


class Trial:
    """One model, asked by its own process, and its compilation."""

    def __init__(self, workshop: Workshop, folder: Path, code: str, python: Path | None = None) -> None:
        self.folder = folder
        self.model = workshop.write(folder, code, *filter(None, [python]))
        self.where = workshop.where(folder, *filter(None, [python]))
        self.transcript = Transcript(folder / "transcript.jsonl")
        self.log: list[str] = []

    def run(self, *requests: dict[str, Any]) -> Compilation:
        facts = json.loads((self.model / "modelyard.json").read_bytes())
        workdir = self.folder / "candidate"
        workdir.mkdir()
        with loaded(self.where.python, self.model, self.folder, (), workdir) as model:
            noted = type(model)(self.transcript.of(model.ask), model.signature, model.task, model.classes)
            ask_golden(noted, facts["golden"])
            for request in requests:
                noted.ask(request)
        return compile_model(self.model, self.transcript, self.where, self.folder / "compilation", self.log.append)


def houses() -> dict[str, Any]:
    import pandas as pd

    table = pd.read_csv(HOUSES / "houses-eval.csv").drop(columns="price")
    return {"columns": {name: cells(table[name]) for name in table}}


def test_numbers(workshop: Workshop, tmp_path: Path) -> None:
    code = f"{WINE}\nmodel = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)"
    compiled = Trial(workshop, tmp_path, code).run()
    assert compiled.why == ""
    assert compiled.folder is not None
    assert [path.name for path in compiled.folder.iterdir()] == ["model.onnx"]
    rows = 5 + 3 * 13  # and three numbers that no training has seen in each column
    assert compiled.sentence().startswith(
        f"Served compiled (ONNX): it answers {rows} rows as the model does, within a "
    )


@pytest.mark.parametrize(
    ("model", "refused"),
    [
        # Its trees compare in 32 bits and refuse what is beyond: two numbers in each of two columns.
        ("make_pipeline(prepared, GradientBoostingRegressor(random_state=0)).fit(X, y)", 4),
        ("make_pipeline(prepared, StandardScaler(with_mean=False), LogisticRegression()).fit(X, y > 300000)", 0),
    ],
)
def test_text_whole_numbers_and_missing_ones(workshop: Workshop, tmp_path: Path, model: str, refused: int) -> None:
    trial = Trial(
        workshop, tmp_path, f"{HOUSE_PRICES}\nprepared.set_params(remainder=StandardScaler())\nmodel = {model}"
    )
    compiled = trial.run(houses())
    assert (compiled.why, compiled.rows > 200, trial.log) == ("", True, [])
    assert [exchange.outputs for exchange in trial.transcript].count(None) == refused


@pytest.mark.parametrize(
    "model",
    ["tree.DecisionTreeClassifier()", "ensemble.RandomForestClassifier(20)", "ensemble.ExtraTreesRegressor(20)"],
)
def test_trees_send_missing_values_where_the_model_does(workshop: Workshop, tmp_path: Path, model: str) -> None:
    code = f"{WINE}\nfrom sklearn import ensemble, tree\nmodel = {model}.fit(X, table.target)"
    trial = Trial(workshop, tmp_path, code)
    assert trial.run().why == ""
    missing = [exchange for exchange in trial.transcript if [None] in exchange.request["columns"].values()]
    assert len(missing) == 13, "one in each column"
    assert all(exchange.outputs is not None for exchange in missing), "which the model answers"


def test_a_model_that_refuses_an_unknown_text_must_go_on_to(workshop: Workshop, tmp_path: Path) -> None:
    code = f"{HOUSE_PRICES}\nencoder.handle_unknown = 'error'\n"
    code += "model = make_pipeline(prepared, GradientBoostingRegressor(random_state=0)).fit(X, y)"
    trial = Trial(workshop, tmp_path, code)
    compiled = trial.run(houses())
    refused = [exchange.request["columns"] for exchange in trial.transcript if exchange.outputs is None]
    unseen, numbers = ([row for row in refused if unknown(row) is told] for told in (True, False))
    assert len(unseen) == 2
    assert all(1e300 in map(abs, (*row["area"], *row["year"])) for row in numbers), "its trees take 32 bits"
    if compiled.folder is None:
        assert "answers what the model refuses" in compiled.why
    else:
        assert compare(compiled.folder.parent, trial.transcript, trial.where, tmp_path / "again") == ""


def unknown(columns: dict[str, Any]) -> bool:
    return any("never seen" in str(value) for values in columns.values() for value in values)


def test_without_a_converter_the_reason_is_told(workshop: Workshop, tmp_path: Path) -> None:
    code = f"{WINE}\nimport numpy as np\n"
    code += "model = make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()).fit(X, y)"
    compiled = Trial(workshop, tmp_path, code).run()
    assert compiled.folder is None
    assert "FunctionTransformer" in compiled.why
    assert compiled.sentence().startswith("Served as it is: ")


def test_a_model_altered_after_its_conversion_is_not_used(workshop: Workshop, tmp_path: Path) -> None:
    """One weight of the file, a hundredth larger."""
    code = f"{WINE}\nmodel = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)\n"
    code += f"Path({str(tmp_path / 'weight')!r}).write_text(repr(float(model[-1].coef_[0][0])))"
    trial = Trial(workshop, tmp_path, code)
    compiled = trial.run()
    assert compiled.folder is not None
    file = compiled.folder / "model.onnx"
    weight = float((tmp_path / "weight").read_text())
    before = file.read_bytes()
    assert before.count(struct.pack("<d", weight)) == 1
    file.write_bytes(before.replace(struct.pack("<d", weight), struct.pack("<d", weight * 1.01)))
    found = compare(compiled.folder.parent, trial.transcript, trial.where, tmp_path / "again")
    assert found.startswith("answers probability [")
    file.write_bytes(before[:-100])
    broken = compare(compiled.folder.parent, trial.transcript, trial.where, tmp_path / "broken")
    assert "onnxruntime cannot load" in broken


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "example"),
    [
        ("xgboost.XGBClassifier(n_estimators=50).fit(tumors.data, tumors.target)", "tumors.data[:5]"),
        ("lightgbm.train({'verbose': -1}, lightgbm.Dataset(patients.data, patients.target))", "patients.data[:5]"),
        *(
            pytest.param(model, f"{data}[:5]", marks=_MORE)
            for model, data in (
                ("xgboost.XGBRegressor(n_estimators=50).fit(patients.data, patients.target)", "patients.data"),
                ("lightgbm.LGBMClassifier(n_estimators=50, verbose=-1).fit(tumors.data, tumors.target)", "tumors.data"),
                (
                    "lightgbm.LGBMRegressor(n_estimators=50, verbose=-1).fit(patients.data, patients.target)",
                    "patients.data",
                ),
                ("xgboost.train({'objective': 'binary:logistic'}, tumors_for_xgboost)", "tumors.data"),
                ("xgboost.train({}, xgboost.DMatrix(patients.data.values, patients.target))", "patients.data.values"),
                ("lightgbm.train({'objective': 'binary', 'verbose': -1}, tumors_for_lightgbm)", "tumors.data"),
            )
        ),
    ],
)
def test_gradient_boosting(workshop: Workshop, boosting_python: Path, tmp_path: Path, model: str, example: str) -> None:
    trial = Trial(workshop, tmp_path, f"{BOOSTING}\nmodel = {model}\nexample = {example}", boosting_python)
    compiled = trial.run()
    assert (compiled.why, compiled.folder is not None) == ("", True), trial.log


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "why"), [("[None, 1]", ""), ("[None]", "compiled, it refuses what the model answers")]
)
def test_an_onnx_model_is_compiled_already(
    workshop: Workshop, flavor_python: MakePython, tmp_path: Path, shape: str, why: str
) -> None:
    """The server gives a table of one column to each input: a graph that takes lists is asked by the project itself."""
    trial = Trial(workshop, tmp_path, GRAPH.replace("SHAPE", shape), flavor_python("iris-onnx"))
    compiled = trial.run()
    assert compiled.why.startswith(why)
    assert (compiled.folder is None) == bool(why), compiled.why
