"""Open Inference Protocol v2 over REST: KServe, Triton, Seldon clients. JSON tensors."""

from __future__ import annotations

from typing import Any

from modelyard.serving.contracts.body import read_object
from modelyard.serving.contracts.instances import complete
from modelyard.serving.messages import JSON, Call, Columns, Outputs, Parse, Refused, Render, Request
from modelyard.serving.model import Model
from modelyard.serving.signature import DATATYPES, Field, shown

_MOST_DIMENSIONS = 16


def contract(model: Model) -> tuple[Parse, Render]:
    """``POST /v2/models/NAME/infer``: an input tensor a column, an output tensor an output."""

    def parse(request: Request) -> Call:
        body = read_object(request)
        inputs = body.get("inputs")
        if type(inputs) is not list or not inputs:
            raise Refused(400, "inputs: expected a list of tensors")
        tensors: dict[Any, Any] = {}
        for number, tensor in enumerate(inputs):
            name, rows = _rows_of(tensor, f"inputs[{number}]")
            if name in tensors:
                raise Refused(400, f"inputs[{number}]: {name!r} is given twice")
            tensors[name] = rows
        columns = _shaped(model, complete(model, tensors))
        facts = {"id": body.get("id"), "outputs": _wanted(model, body.get("outputs"))}
        if facts["id"] is not None and type(facts["id"]) is not str:
            raise Refused(400, f"id: expected text, found {shown(facts['id'])}")
        return Call(columns, len(next(iter(columns.values()))), facts)

    def render(call: Call, outputs: Outputs) -> JSON:
        answer: JSON = {"model_name": model.name, "model_version": model.version}
        if call.facts["id"] is not None:
            answer["id"] = call.facts["id"]
        answer["outputs"] = [
            _tensor(field, outputs[field.name], call.rows)
            for field in model.signature.outputs
            if call.facts["outputs"] is None or field.name in call.facts["outputs"]
        ]
        return answer

    return parse, render


def metadata(model: Model) -> JSON:
    """Answer ``GET /v2/models/NAME``."""

    def tensors(fields: tuple[Field, ...]) -> list[JSON]:
        return [{"name": field.name, "datatype": field.datatype, "shape": [-1, *field.shape]} for field in fields]

    return {
        "name": model.name,
        "versions": [model.version],
        "platform": f"modelyard_{model.description.get('flavor', 'model')}",
        "inputs": tensors(model.signature.inputs),
        "outputs": tensors(model.signature.outputs),
    }


def _rows_of(tensor: Any, place: str) -> tuple[str, list[Any]]:
    """Return a tensor's name and its data, nested as its shape says: the first dimension is the rows."""
    if type(tensor) is not dict or type(tensor.get("name")) is not str:
        raise Refused(400, f"{place}: expected an object with name, shape, datatype and data")
    place = f"{place} ({tensor['name']})"
    shape, data = tensor.get("shape"), tensor.get("data")
    if tensor.get("datatype") not in DATATYPES:
        raise Refused(
            400, f"{place}: datatype is {shown(tensor.get('datatype'))}, none of {', '.join(sorted(DATATYPES))}"
        )
    if (
        type(shape) is not list
        or not 1 <= len(shape) <= _MOST_DIMENSIONS
        or not all(type(size) is int and size >= 0 for size in shape)
    ):
        raise Refused(400, f"{place}: shape is {shown(shape)}, no list of sizes")
    if type(data) is not list:
        raise Refused(400, f"{place}: data is {shown(data)}, no list")
    flat = _flat(data)
    size = 1
    for length in shape:
        size *= length
    if len(flat) != size:
        raise Refused(400, f"{place}: shape {shape} holds {size} values, data has {len(flat)}")
    if size == 0:
        raise Refused(400, f"{place}: shape {shape} holds no values")
    for length in reversed(shape[1:]):
        flat = [flat[start : start + length] for start in range(0, len(flat), length)]
    return tensor["name"], flat


def _flat(data: list[Any]) -> list[Any]:
    while any(type(value) is list for value in data):
        data = [part for value in data for part in (value if type(value) is list else [value])]
    return data


def _shaped(model: Model, columns: Columns) -> Columns:
    """Unwrap ``[n, 1]`` where the signature has a plain column: data frames are often sent so."""
    for field in model.signature.inputs:
        if not field.shape and all(type(row) is list and len(row) == 1 for row in columns[field.name]):
            columns[field.name] = [row[0] for row in columns[field.name]]
    return columns


def _wanted(model: Model, outputs: Any) -> set[str] | None:
    """Return the names of the outputs asked for, None for all."""
    if outputs is None or outputs == []:
        return None
    if type(outputs) is not list or not all(type(output) is dict for output in outputs):
        raise Refused(400, "outputs: expected a list of objects with a name")
    known = {field.name for field in model.signature.outputs}
    for number, output in enumerate(outputs):
        if type(output.get("name")) is not str or output["name"] not in known:
            raise Refused(400, f"outputs[{number}]: {shown(output.get('name'))} is none of {', '.join(sorted(known))}")
    return {output["name"] for output in outputs}


def _tensor(field: Field, values: list[Any], rows: int) -> JSON:
    shape = [rows]
    inner = values[0]
    while type(inner) is list:
        shape.append(len(inner))
        inner = inner[0] if inner else None
    return {"name": field.name, "shape": shape, "datatype": field.datatype, "data": _flat(values)}
