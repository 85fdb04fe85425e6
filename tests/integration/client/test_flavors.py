"""What each flavor keeps and refuses, in an environment that has its library: that of its example."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.fixtures_flavors import EXAMPLES, MakePython

from modelyard.client.child import environment, lay_client
from modelyard.project import load
from modelyard.project.experiment import describe
from modelyard.project.lock import locked, read_lock

pytestmark = pytest.mark.slow

_START = """
import json, sys
from pathlib import Path
import numpy as np
from modelyard.client.flavors import FlavorError
from modelyard.client.loaded import LoadedModel
from modelyard.client.model import write_model

def kept(model, example, name="model"):
    folder = Path(name)
    folder.mkdir(exist_ok=True)
    write_model(folder, model, example)  # proves that the loaded model answers alike
    return json.loads((folder / "modelyard.json").read_bytes())

def refused(model, example):
    try:
        kept(model, example, "refused")
    except FlavorError as error:
        return str(error)

def files(name):
    return {path.relative_to(name): path.read_bytes() for path in Path(name).rglob("*") if path.is_file()}
"""

_XGBOOST = """
import xgboost
from sklearn.datasets import load_iris
iris = load_iris(as_frame=True)
X, y = iris.data, iris.target
rows = xgboost.DMatrix(X, y)

booster = xgboost.train({"objective": "multi:softprob", "num_class": 3}, rows, 5)
facts = kept(booster, X[:3], "booster")
assert (facts["flavor"], facts["task"], facts["classes"]) == ("xgboost", "classification", [0, 1, 2]), facts
assert facts["golden"]["outputs"]["prediction"] == booster.predict(xgboost.DMatrix(X[:3])).argmax(axis=1).tolist()
kept(booster, X[:3], "again")
assert files("booster") == files("again")
tasks = {"reg:squarederror": "regression", "rank:pairwise": None, "multi:softmax": "classification"}
for objective, task in tasks.items():
    parameters = {"objective": objective, **({"num_class": 3} if "multi" in objective else {})}
    trained = xgboost.train(parameters, rows, 5)
    facts = kept(trained, X[:3], objective.replace(":", "-"))
    assert facts["task"] == task, (objective, facts["task"])
    assert facts["golden"]["outputs"] == {"prediction": trained.predict(xgboost.DMatrix(X[:3])).tolist()}

classifier = xgboost.XGBClassifier(n_estimators=5).fit(X, y)
facts = kept(classifier, X[:3], "classifier")
assert (facts["flavor"], facts["files"], facts["classes"]) == ("xgboost", {"classifier": "model.ubj"}, [0, 1, 2]), facts
assert facts["golden"]["outputs"]["probability"] == classifier.predict_proba(X[:3]).tolist()
# What stands for a missing value is not in XGBoost's file.
assert kept(xgboost.XGBRegressor(n_estimators=5, missing=-1).fit(X, y), X[:3], "missing")["flavor"] == "sklearn"
"""

_LIGHTGBM = """
import lightgbm
from sklearn.datasets import load_iris
iris = load_iris(as_frame=True)
X, y = iris.data, iris.target

for objective, task in [("multiclass", "classification"), ("regression", "regression"), ("lambdarank", None)]:
    parameters = {"objective": objective, "verbose": -1, **({"num_class": 3} if objective == "multiclass" else {})}
    data = lightgbm.Dataset(X, y, group=[150] if objective == "lambdarank" else None)
    booster = lightgbm.train(parameters, data, 5)
    facts = kept(booster, X[:3], objective)
    assert (facts["flavor"], facts["task"]) == ("lightgbm", task), facts
    raw = booster.predict(X[:3])
    outputs = facts["golden"]["outputs"]
    if task == "classification":
        assert (facts["classes"], outputs["probability"]) == ([0, 1, 2], raw.tolist())
        assert outputs["prediction"] == raw.argmax(axis=1).tolist()
    else:
        assert outputs == {"prediction": raw.tolist()}
kept(booster, X[:3], "again")
assert files("lambdarank") == files("again")
assert kept(lightgbm.LGBMRegressor(n_estimators=5, verbose=-1).fit(X, y), X[:3], "estimator")["flavor"] == "sklearn"
"""

_ONNX = """
import onnx, pandas as pd
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.linear_model import LinearRegression, LogisticRegression

def graph(nodes, inputs, outputs):
    values = [[helper.make_tensor_value_info(*one) for one in some] for some in (inputs, outputs)]
    made = helper.make_model(helper.make_graph(nodes, "g", *values), opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 9
    return made

column = [None, 1]
inputs = [("size", TensorProto.FLOAT, column), ("count", TensorProto.INT64, column)]
nodes = [helper.make_node("Cast", ["count"], ["c"], to=1), helper.make_node("Add", ["size", "c"], ["sum"]),
         helper.make_node("Mul", ["size", "c"], ["product"])]
both = graph(nodes, inputs, [("sum", TensorProto.FLOAT, column), ("product", TensorProto.FLOAT, column)])
frame = pd.DataFrame({"count": [1, 2], "size": [0.5, 4.0]})
facts = kept(both, frame, "by-name")
assert facts["golden"]["outputs"] == {"sum": [[1.5], [6.0]], "product": [[0.5], [8.0]]}, facts["golden"]
assert refused(both, frame.rename(columns={"size": "length"})).startswith("the ONNX model has inputs size, count")

X = np.random.default_rng(0).normal(size=(40, 2)).astype("float32")
Path("linear.onnx").write_bytes(to_onnx(LinearRegression().fit(X, X.sum(axis=1)), X[:1]).SerializeToString())
facts = kept("linear.onnx", X[:3], "path")
assert (facts["flavor"], facts["task"], facts["signature"]["outputs"][0]["shape"]) == ("onnx", None, [-1]), facts
assert files("path")[Path("model.onnx")] == Path("linear.onnx").read_bytes()
assert "'zipmap': False" in refused(to_onnx(LogisticRegression().fit(X, X[:, 0] > 0), X[:1]), X[:3])
"""

_TORCH = """
import torch
Path("layers.py").write_text('''
import torch

class Scaled(torch.nn.Module):
    def __init__(self, size, factor=2.0):
        super().__init__()
        self.size, self.factor = size, factor
        self.linear, self.dropout = torch.nn.Linear(size, 1), torch.nn.Dropout(0.5)

    def forward(self, rows):
        return self.dropout(self.linear(rows)) * self.factor

class Forgets(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self.linear = torch.nn.Linear(size, 1)
''')
sys.path.insert(0, ".")
from layers import Forgets, Scaled
rows = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
model = Scaled(3, factor=0.5)
facts = kept(model, rows, "weights")
assert model.training  # it goes on as it was
assert json.loads(Path("weights/module.json").read_text())["arguments"] == {"size": 3, "factor": 0.5}
kept(model, rows, "again")
assert files("weights") == files("again")

dynamic = ({0: torch.export.Dim.AUTO},)
facts = kept(torch.export.export(model.eval(), (torch.from_numpy(rows),), dynamic_shapes=dynamic), rows, "program")
assert facts["files"] == {"program": "program.pt2"}
assert facts["golden"] == json.loads(Path("weights/modelyard.json").read_bytes())["golden"]
one = {"tensor": {"data": rows[:1].tolist(), "shape": [1, 3]}}
assert len(LoadedModel.load(Path("program")).answer(one)["prediction"]) == 1

assert "keep it (self.size = size)" in refused(Forgets(3), rows)
assert "torch.export.export" in refused(torch.nn.Sequential(torch.nn.Linear(3, 1)), rows)
class Own(Scaled):
    pass
assert "move it to a module of its own" in refused(Own(3), rows)

# A file that would run code when it is read is refused by PyTorch.
class Harmful:
    def __reduce__(self):
        return (Path.touch, (Path("harmed"),))
torch.save(Harmful(), "weights/weights.pt")
try:
    LoadedModel.load(Path("weights"))
except Exception as error:
    assert "weights_only" in str(error).lower() or "Weights only" in str(error), error
else:
    raise AssertionError("it was loaded")
assert not Path("harmed").exists()
"""

_KERAS = """
import os
os.environ["KERAS_BACKEND"] = "jax"
import keras, pandas as pd
left, right = keras.Input((1,), name="left"), keras.Input((1,), name="right")
total = keras.layers.Dense(1, name="total")(keras.layers.Concatenate()([left, right]))
frame = pd.DataFrame({"right": [1.0, 2.0], "left": [0.5, 4.0]}).astype("float32")
model = keras.Model([left, right], total)
facts = kept(model, frame, "two")
assert (facts["flavor"], list(facts["golden"]["outputs"])) == ("keras", ["prediction"]), facts
kept(model, frame, "again")
assert files("two") == files("again")
Path("two/backend.txt").write_text("torch")
try:
    LoadedModel.load(Path("two"))
except FlavorError as error:
    assert "trained on Keras' backend torch, here it is jax" in str(error)
else:
    raise AssertionError("it was loaded on another backend")
"""

_TENSORFLOW = """
import pandas as pd
import tensorflow as tf
class Twice(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "a")])
    def twice(self, a):
        return {"answer": 2 * a}
frame, twice = pd.DataFrame({"a": [1.5, 2.5]}).astype("float32"), Twice()
tf.saved_model.save(twice, "saved", signatures=twice.twice)
facts = kept("saved", frame, "folder")
assert (facts["flavor"], facts["golden"]["outputs"]) == ("tensorflow", {"prediction": [3.0, 5.0]}), facts
kept("saved", frame, "again")
assert files("folder") == files("again")
tf.saved_model.save(tf.Module(), "bare")
assert "has the signatures (none)" in refused("bare", frame)
"""

_PYFUNC = """
import mlflow.pyfunc, pandas as pd
Path("rules.py").write_text('''
import mlflow.pyfunc

class Rules(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        doubled = model_input["a"] * 2
        return model_input.assign(prediction=doubled, text="x")[["prediction", "text"]]
''')
sys.path.insert(0, ".")
from rules import Rules
frame = pd.DataFrame({"a": [1.5, 2.5]})
facts = kept(Rules(), frame, "object")
assert facts["golden"]["outputs"] == {"prediction": [3.0, 5.0], "text": ["x", "x"]}, facts["golden"]
mlflow.pyfunc.save_model("saved", python_model=Rules(), pip_requirements=[])
assert kept("saved", frame, "folder")["flavor"] == "pyfunc"
kept(Rules(), frame, "again")
assert files("object") == files("again")
assert "utc_time_created" not in Path("object/mlflow/MLmodel").read_text()
"""


_CODE = {
    "tumors": _XGBOOST,
    "diabetes": _LIGHTGBM,
    "iris-onnx": _ONNX,
    "parcels-pyfunc": _PYFUNC,
    "digits-torch": _TORCH,
    "digits-keras": _KERAS,
    "iris-tensorflow": _TENSORFLOW,
}


@pytest.mark.parametrize("example", _CODE)
def test_what_a_flavor_keeps_and_refuses(flavor_python: MakePython, example: str, tmp_path: Path) -> None:
    python, work = flavor_python(example), tmp_path / "work"
    (tmp_path / "home").mkdir()
    work.mkdir()
    code = [lay_client(tmp_path / "client")]
    # The byte code stays in the environment, for the test that comes after this one.
    variables = environment(python, tmp_path / "home", code=code, PYTHONDONTWRITEBYTECODE="")
    command = [str(python), "-W", "ignore", "-c", _START + _CODE[example]]
    done = subprocess.run(command, cwd=work, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("example", _CODE)
def test_the_lock_of_its_example_says_what_the_experiment_says(flavor_python: MakePython, example: str) -> None:
    folder = EXAMPLES / example
    loaded = load(folder)
    config = describe(folder, loaded.entry, flavor_python(example), hidden=())
    assert read_lock(folder) == locked(loaded, folder, config)
