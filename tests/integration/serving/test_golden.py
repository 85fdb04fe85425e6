"""Whatever the route, the answer for the golden rows is the training-time prediction."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.fixtures_compilation import Workshop
from tests.fixtures_flavors import MakePython, Train, Trained
from tests.image_roots import make_root, script
from tritonclient import http as triton

from modelyard.client.child import lay_client
from modelyard.compilation import Compilation
from modelyard.deployment.smoke import largest, same

from . import small_models
from .conftest import FACTS, Running, Start

VERTEX = "/v1/vertex"

# A graph with an input of text and one of numbers, for a frame of such columns.
_SAVED_MODEL = """
import pandas as pd
import tensorflow as tf

class Prices(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "word"), tf.TensorSpec([None], tf.float32, "size")])
    def price(self, word, size):
        return {"answer": size * 0.1 + tf.cast(tf.strings.length(word), tf.float32)}

prices = Prices()
tf.saved_model.save(prices, str(Path.home() / "prices"), signatures=prices.price)
model = Path.home() / "prices"
example = pd.DataFrame({"word": ["x", "four", "other"], "size": pd.Series([1.0, 2.5, 0.25], dtype="float32")})
"""
# Where the server runs the model itself, and where the project's environment does.
_COMPILED = ("tumors", "diabetes", "iris-onnx")
_AS_THEY_ARE = (*_COMPILED, "parcels-pyfunc", "digits-torch", "digits-keras", "iris-tensorflow", "saved-model")


@dataclass
class Served:
    """A model in a running server, and what training knows of it.

    Attributes:
        rounded: its numbers have 32 bits, or another library computes them: equal within the tolerance of every check.
    """

    server: Running
    signature: dict[str, Any]
    rows: list[Any]
    outputs: dict[str, list[Any]]
    rounded: bool = False

    @property
    def columns(self) -> dict[str, list[Any]]:
        if self.signature["kind"] == "tensor":
            return {self.signature["inputs"][0]["name"]: self.rows}
        return {name: [row[name] for row in self.rows] for name in self.rows[0]}

    @property
    def plain(self) -> bool:
        """Its inputs are columns, which data frames are made of."""
        return bool(self.signature["kind"] == "columns")


@pytest.fixture(
    scope="module",
    params=[
        *("frame", "array", "one_column", "python"),
        pytest.param("pipeline compiled", marks=pytest.mark.slow),
        *(pytest.param(name, marks=pytest.mark.slow) for name in _AS_THEY_ARE),
        *(pytest.param(f"{name} compiled", marks=pytest.mark.slow) for name in _COMPILED),
    ],
)
def served(
    request: pytest.FixtureRequest,
    start: Start,
    workshop: Workshop,
    trained: Train,
    flavor_python: MakePython,
    tmp_path_factory: pytest.TempPathFactory,
) -> Served:
    name, _, compiled = request.param.partition(" ")
    folder = tmp_path_factory.mktemp(name)
    root = make_root(folder / "root")
    shutil.rmtree(root / "environment")
    shutil.rmtree(root / "model")
    if name == "saved-model":
        python = flavor_python("iris-tensorflow")
        shutil.move(workshop.write(folder / "made", _SAVED_MODEL, python), root / "model")
        script(root / "environment" / "bin" / "python", f'exec {python} "$@"')
    elif name not in _AS_THEY_ARE:
        small_models.write(name, root)
        if compiled:
            example = Trained(Path(sys.executable), root / "project", root / "model", lay_client(folder / "client"))
            compile_in(root, example.compile(workshop, folder))
    elif compiled:
        compile_in(root, trained(name).compile(workshop, folder))
    else:
        example = trained(name)
        shutil.copytree(example.project, root / "project", dirs_exist_ok=True)
        shutil.copytree(example.model, root / "model")
        script(root / "environment" / "bin" / "python", f'exec {example.python} "$@"')
    facts = json.loads((root / "model" / "modelyard.json").read_text())
    golden = facts["golden"]
    rounded = bool(compiled) or name in _AS_THEY_ARE
    server = start(root, environment={**FACTS, "AIP_PREDICT_ROUTE": VERTEX})
    return Served(server, facts["signature"], golden["inputs"], golden["outputs"], rounded)


def compile_in(root: Path, compilation: Compilation) -> None:
    """Leave nothing but the compiled model in an image."""
    assert compilation.folder is not None, compilation.why
    shutil.rmtree(root / "project")
    shutil.rmtree(root / "model", ignore_errors=True)
    shutil.copytree(compilation.folder.parent, root / "model")


def ask(served: Served, path: str, body: Any, **headers: str) -> Any:
    answer = served.server.post(path, body, **headers)
    assert answer.status == 200, answer.body
    return answer.json


def by_rows(values: list[Any]) -> dict[str, list[Any]]:
    """Turn an object a row, or the single output's values, into outputs."""
    if isinstance(values[0], dict):
        return {name: [value[name] for value in values] for name in values[0]}
    return {"prediction": values}


def predict(served: Served) -> dict[str, list[Any]]:
    return by_rows(ask(served, "/predict", {"rows": served.rows})["predictions"])


def instances(served: Served) -> dict[str, list[Any]]:
    return by_rows(ask(served, "/v1/models/sum:predict", {"instances": served.rows})["predictions"])


def vertex(served: Served) -> dict[str, list[Any]]:
    return by_rows(ask(served, VERTEX, {"instances": served.rows})["predictions"])


def inputs(served: Served) -> dict[str, list[Any]]:
    outputs = ask(served, "/v1/models/sum:predict", {"inputs": served.columns})["outputs"]
    return outputs if isinstance(outputs, dict) else {"prediction": outputs}


def infer_json(served: Served) -> dict[str, list[Any]]:
    return infer(served)


def infer_one_by_one(served: Served) -> dict[str, list[Any]]:
    answered: dict[str, list[Any]] = {}
    for name in served.outputs:
        found = infer(served, outputs=[{"name": name}])
        assert list(found) == [name]
        answered |= found
    return answered


def infer(served: Served, **more: Any) -> dict[str, list[Any]]:
    tensors = []
    for entry in served.signature["inputs"]:
        values = served.columns[entry["name"]]
        shape = [len(values), *entry["shape"][1:]]
        tensors.append({"name": entry["name"], "datatype": entry["datatype"], "shape": shape, "data": values})
    outputs = ask(served, "/v2/models/sum/infer", {"inputs": tensors, **more})["outputs"]
    return {output["name"]: np.reshape(output["data"], output["shape"]).tolist() for output in outputs}


_TYPES = {"BOOL": np.bool_, "INT32": np.int32, "INT64": np.int64, "FP32": np.float32, "FP64": np.float64}


def infer_bytes(served: Served) -> dict[str, list[Any]]:
    tensors = []
    for entry in served.signature["inputs"]:
        values = served.columns[entry["name"]]
        binary = entry["datatype"] != "BYTES" or None not in values  # no bytes say that a text is missing
        tensor = triton.InferInput(entry["name"], [len(values), *entry["shape"][1:]], entry["datatype"])
        data: Any = np.array(values, dtype=_TYPES.get(entry["datatype"], object))
        if binary:
            tensor.set_data_from_numpy(data)
        else:
            tensor._data = values
        tensors.append(tensor)
    with triton.InferenceServerClient(f"127.0.0.1:{served.server.port}") as client:
        result = client.infer("sum", tensors)
    outputs = {}
    for name in served.outputs:
        array = result.as_numpy(name)
        outputs[name] = [text.decode() for text in array] if array.dtype == object else array.tolist()
    return outputs


def first(served: Served, values: list[Any]) -> dict[str, list[Any]]:
    return {next(iter(served.outputs)): values}


def split(served: Served) -> dict[str, list[Any]]:
    frame = {"data": served.rows}
    if served.plain:
        frame = {"columns": list(served.rows[0]), "data": [list(row.values()) for row in served.rows]}
    return first(served, ask(served, "/invocations", {"dataframe_split": frame})["predictions"])


def records(served: Served) -> dict[str, list[Any]]:
    return first(served, ask(served, "/invocations", {"dataframe_records": served.rows})["predictions"])


def named_inputs(served: Served) -> dict[str, list[Any]]:
    return first(served, ask(served, "/invocations", {"inputs": served.columns})["predictions"])


def csv(served: Served) -> dict[str, list[Any]]:
    table = pd.DataFrame(served.rows).to_csv(index=False, header=served.plain).encode()
    answer = served.server.request("POST", "/invocations", table, {"content-type": "text/csv"})
    assert answer.status == 200, answer.body
    return first(served, answer.json["predictions"])


def score(served: Served) -> dict[str, list[Any]]:
    return first(served, ask(served, "/score", {"input_data": served.rows}))


def queries(served: Served) -> dict[str, list[Any]]:
    names = list(served.columns)
    rows = [dict(zip(names, row, strict=True)) for row in zip(*served.columns.values(), strict=True)]
    return by_rows([ask(served, "/queries.json", row) for row in rows])


@pytest.mark.parametrize(
    "route",
    [
        *(predict, instances, vertex, inputs, infer_json, infer_one_by_one, infer_bytes),
        *(split, records, named_inputs, csv, score, queries),
    ],
    ids=lambda route: route.__name__,
)
def test_any_route_answers_as_training_did(served: Served, route: Callable[[Served], dict[str, list[Any]]]) -> None:
    answered = route(served)
    assert answered
    for name, values in answered.items():
        if served.rounded:
            assert same(served.outputs[name], values, largest(served.outputs[name])), values
        elif isinstance(served.outputs[name][0], float | list):
            np.testing.assert_allclose(values, served.outputs[name], rtol=1e-9, atol=1e-9)
        else:
            assert values == served.outputs[name]


def test_what_training_did_not_see_is_refused(served: Served) -> None:
    if served.signature["inputs"][0].get("categories") is None:
        return
    answer = served.server.post("/predict", [{**served.rows[0], "hue": "blue"}])
    assert (answer.status, answer.json["problems"][0]["field"]) == (422, "hue")
