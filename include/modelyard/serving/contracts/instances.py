"""Bodies with ``instances`` or ``inputs``: KServe v1 and TensorFlow Serving, Vertex AI, and MLflow with SageMaker."""

from __future__ import annotations

from typing import Any

from modelyard.serving.contracts.body import read_object
from modelyard.serving.contracts.plain import records
from modelyard.serving.messages import JSON, Call, Columns, Outputs, Parse, Refused, Render, Request
from modelyard.serving.model import Model
from modelyard.serving.signature import shown


def tensorflow(model: Model) -> tuple[Parse, Render]:
    """``:predict`` of KServe v1, TensorFlow Serving and Vertex AI.

    ``{"instances": [row, …]}`` is answered by ``{"predictions": [value, …]}``, where a model of several outputs gives
    an object a row; ``{"inputs": {name: [value, …]}}`` (columns) by ``{"outputs": …}`` in the same way.
    """

    def parse(request: Request) -> Call:
        body = read_object(request)
        if "instances" in body:
            return _rows(model, body["instances"])
        if "inputs" in body:
            columns = _columns(model, body["inputs"])
            return Call(columns, len(next(iter(columns.values()))), {"columnar": True})
        raise Refused(400, "expected 'instances' (a list of rows) or 'inputs' (columns)")

    def render(call: Call, outputs: Outputs) -> JSON:
        single = len(outputs) == 1
        if "columnar" in call.facts:
            return {"outputs": next(iter(outputs.values())) if single else outputs}
        return {"predictions": next(iter(outputs.values())) if single else records(outputs)}

    return parse, render


def mlflow(model: Model) -> tuple[Parse, Render]:
    """``/invocations``: exactly one of ``dataframe_split``, ``dataframe_records``, ``instances``, ``inputs``.

    The answer is ``{"predictions": [value, …]}``: what the model's own predict returns, its first output.
    """

    def parse(request: Request) -> Call:
        body = read_object(request)
        given = [key for key in ("dataframe_split", "dataframe_records", "instances", "inputs") if key in body]
        if len(given) != 1:
            raise Refused(400, "expected one of dataframe_split, dataframe_records, instances, inputs")
        value = body[given[0]]
        if given[0] == "inputs" and type(value) is dict:
            columns = _columns(model, value)
            return Call(columns, len(next(iter(columns.values()))))
        if given[0] != "dataframe_split":
            return _rows(model, value)
        if type(value) is not dict or type(value.get("data")) is not list:
            raise Refused(400, "dataframe_split: expected an object with columns and data")
        names = value.get("columns")
        if names is not None and (type(names) is not list or len(set(map(str, names))) != len(names)):
            raise Refused(400, "dataframe_split: columns must be a list of different names")
        return _rows(model, value["data"], names)

    def render(_call: Call, outputs: Outputs) -> JSON:
        return {"predictions": next(iter(outputs.values()))}

    return parse, render


def _rows(model: Model, rows: Any, names: list[Any] | None = None) -> Call:
    signature = model.signature
    if names is not None and not all(type(name) is str for name in names):
        raise Refused(400, f"dataframe_split: columns must be names, found {shown(names)}")
    if len(signature.inputs) == 1 and type(rows) is list and not any(type(row) in (dict, list) for row in rows):
        rows = [
            {signature.inputs[0].name: row} for row in rows
        ]  # a model of one plain input: each instance is its value
    columns = signature.columns_of(signature.positional(rows, names))
    return Call(columns, len(rows))


def _columns(model: Model, value: Any) -> Columns:
    signature = model.signature
    if len(signature.inputs) == 1 and type(value) is list:
        value = {signature.inputs[0].name: value}
    if type(value) is not dict:
        raise Refused(400, f"inputs: expected an object with a list of values for each column, found {shown(value)}")
    return complete(model, value)


def complete(model: Model, columns: dict[Any, Any]) -> Columns:
    """Return columns that are exactly the signature's and of one length; raises Refused else."""
    signature = model.signature
    if columns.keys() != signature.names:
        missing = sorted(signature.names - columns.keys())
        unknown = sorted(set(map(str, columns)) - signature.names)
        what = [f"{kind} {', '.join(names)}" for kind, names in (("missing", missing), ("unknown", unknown)) if names]
        raise Refused(422, f"the inputs are not the signature's: {'; '.join(what)}")
    for name, values in columns.items():
        if type(values) is not list or not values:
            raise Refused(422, f"field {name!r}: expected a list with a value a row, found {shown(values)}")
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        found = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise Refused(422, f"all inputs must have one value a row: {found}")
    return columns
