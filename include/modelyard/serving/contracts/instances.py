"""Bodies with ``instances`` or ``inputs``: KServe v1, TensorFlow Serving and Vertex AI."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from modelyard.serving.contracts.body import read_object
from modelyard.serving.contracts.plain import records
from modelyard.serving.messages import JSON, Call, Columns, Contract, Outputs, Refused, Request, Response, in_json
from modelyard.serving.model import Model
from modelyard.serving.signature import Field, listed, refuse, shown

_SIGNATURE_NAME = "serving_default"
_TENSORFLOW_TYPES = {"FP16": "DT_HALF", "FP32": "DT_FLOAT", "FP64": "DT_DOUBLE", "BYTES": "DT_STRING"}


def contract(model: Model) -> Contract:
    """``:predict`` of KServe v1, TensorFlow Serving and Vertex AI.

    ``{"instances": [row, …]}`` is answered by ``{"predictions": [value, …]}``, where a model of several outputs gives
    an object a row; ``{"inputs": {name: [value, …]}}`` (columns) by ``{"outputs": …}`` in the same way.
    """
    texts = [field for field in model.signature.inputs if field.datatype == "BYTES"]
    # TensorFlow Serving takes this ending for bytes (DT_STRING) that need not be text.
    outputs = [field for field in model.signature.outputs if field.datatype == "BYTES"]
    encoded = [field.name for field in outputs if field.name.endswith("_bytes")]

    def parse(request: Request) -> Call:
        body = read_object(request)
        if (name := body.get("signature_name", "")) not in ("", _SIGNATURE_NAME):
            raise Refused(400, f"signature_name: there is no {shown(name)}, only {_SIGNATURE_NAME!r}")
        if ("instances" in body) == ("inputs" in body):
            raise Refused(400, "expected either 'instances' (a list of rows) or 'inputs' (columns)")
        if "instances" in body:
            call = of_rows(model, _plain(body["instances"], model.signature.inputs))
        else:
            columns = of_columns(model, body["inputs"])
            call = Call(columns, len(next(iter(columns.values()))), {"columnar": True})
        for field in texts:
            call.columns[field.name] = _all_decoded(call.columns[field.name], field)
        return call

    def render(call: Call, outputs: Outputs) -> Response:
        for name in encoded:
            outputs = {**outputs, name: _encoded(outputs[name])}
        single = len(outputs) == 1
        if "columnar" in call.facts:
            return in_json({"outputs": next(iter(outputs.values())) if single else outputs})
        return in_json({"predictions": next(iter(outputs.values())) if single else records(outputs)})

    return Contract(parse, render)


def metadata(model: Model) -> JSON:
    """Answer TensorFlow Serving's ``GET /v1/models/NAME/metadata``."""
    definition = {
        "inputs": {field.name: _tensor_info(field) for field in model.signature.inputs},
        "outputs": {field.name: _tensor_info(field) for field in model.signature.outputs},
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": model.name, "signature_name": "", "version": model.version},
        "metadata": {"signature_def": {"signature_def": {_SIGNATURE_NAME: definition}}},
    }


def _tensor_info(field: Field) -> JSON:
    sizes = [{"size": str(size), "name": ""} for size in (-1, *field.shape)]
    datatype = _TENSORFLOW_TYPES.get(field.datatype, f"DT_{field.datatype}")
    return {"dtype": datatype, "tensor_shape": {"dim": sizes, "unknown_rank": False}, "name": field.name}


def _plain(rows: Any, inputs: tuple[Field, ...]) -> Any:
    """Return rows of a model with one input of text decoded, where they are its values; an input may be named b64."""
    field = inputs[0]
    if len(inputs) > 1 or field.datatype != "BYTES" or field.name == "b64" or type(rows) is not list:
        return rows
    return [
        _decoded(row, field, number) if type(row) is dict and row.keys() == {"b64"} else row
        for number, row in enumerate(rows)
    ]


def _all_decoded(values: list[Any], field: Field) -> list[Any]:
    if field.shape or any(type(value) is dict for value in values):
        return [_decoded(value, field, row) for row, value in enumerate(values)]
    return values


def _decoded(value: Any, field: Field, row: int) -> Any:
    """Return a row's entry with text for each ``{"b64": …}``, as TensorFlow Serving has bytes encoded."""
    if type(value) is list and field.shape:
        return [_decoded(part, field, row) for part in value]
    if type(value) is not dict:
        return value
    try:
        return base64.b64decode(value["b64"], validate=True).decode()
    except (KeyError, TypeError, binascii.Error, ValueError):
        expected = 'text, or {"b64": …} with text in UTF-8 (BYTES)'
        raise refuse([{"row": row, "field": field.name, "expected": expected, "found": shown(value)}]) from None


def _encoded(value: Any) -> Any:
    if type(value) is list:
        return [_encoded(part) for part in value]
    return value if value is None else {"b64": base64.b64encode(value.encode()).decode()}


def of_rows(model: Model, rows: Any, names: list[Any] | None = None) -> Call:
    """Return the call for rows: objects, or lists in the order of ``names``, else of the signature."""
    signature = model.signature
    if len(signature.inputs) == 1 and type(rows) is list and not any(type(row) in (dict, list) for row in rows):
        # A model of one plain input: each instance is its value.
        rows = [{signature.inputs[0].name: row} for row in rows]
    columns = signature.columns_of(signature.positional(rows, names))
    return Call(columns, len(rows))


def of_columns(model: Model, value: Any) -> Columns:
    """Return columns given by name; of a model with one input its values alone will do."""
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
        what = [f"{kind} {listed(names)}" for kind, names in (("missing", missing), ("unknown", unknown)) if names]
        raise Refused(422, f"the inputs are not the signature's: {'; '.join(what)}")
    for name, values in columns.items():
        if type(values) is not list or not values:
            raise Refused(422, f"field {name!r}: expected a list with a value a row, found {shown(values)}")
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        found = listed(f"{name} has {length}" for name, length in lengths.items())
        raise Refused(422, f"all inputs must have one value a row: {found}")
    return columns
