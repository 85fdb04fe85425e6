"""Open Inference Protocol v2 over REST: KServe, Triton, Seldon clients. Tensors in JSON, and in bytes after it."""

from __future__ import annotations

from typing import Any

from modelyard.serving.contracts.body import content_type, decode, read_json, said_json
from modelyard.serving.contracts.instances import complete
from modelyard.serving.contracts.tensors import Tail, parameter, read, write
from modelyard.serving.messages import JSON, Call, Contract, Outputs, Refused, Request, Response, in_json
from modelyard.serving.model import Model
from modelyard.serving.signature import Field, listed, shown
from modelyard.serving.typed import tensors_reader

EXTENSIONS = ["binary_tensor_data"]
_JSON_LENGTH = "inference-header-content-length"


def contract(model: Model) -> Contract:
    """``POST /v2/models/NAME/infer``: an input tensor a column, an output tensor an output."""
    fields = {field.name: field for field in model.signature.inputs}
    results = {field.name: field for field in model.signature.outputs}
    quickly = tensors_reader(model.signature)

    def parse(request: Request) -> Call:
        if quickly is not None and _JSON_LENGTH not in request.headers:
            said_json(request)
            if (found := quickly(request.body)) is not None:
                return completed(*found)
        body, tail = _parts(request)
        columns = complete(model, _columns(body.get("inputs"), fields, tail))
        return completed(Call(columns, len(next(iter(columns.values())))), body)

    def completed(call: Call, body: JSON) -> Call:
        if (given := body.get("id")) is not None and type(given) is not str:
            raise Refused(400, f"id: expected text, found {shown(given)}")
        outputs = _wanted(body, results)
        call.facts = {"id": given, "outputs": outputs}
        call.outputs = tuple(field.name for field, _ in outputs)
        return call

    def render(call: Call, outputs: Outputs) -> Response:
        answer: JSON = {"model_name": model.name, "model_version": model.version}
        if call.facts["id"] is not None:
            answer["id"] = call.facts["id"]
        tensors = [write(field, outputs[field.name], binary=binary) for field, binary in call.facts["outputs"]]
        answer["outputs"] = [tensor for tensor, _ in tensors]
        response = in_json(answer)
        if any("parameters" in tensor for tensor, _ in tensors):
            response.headers = ((_JSON_LENGTH, str(len(response.body))),)
            response.body = b"".join([response.body, *(data for _, data in tensors)])
            response.content_type = "application/octet-stream"
        return response

    return Contract(parse, render)


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


def _parts(request: Request) -> tuple[JSON, Tail]:
    """Return a request's JSON object and what follows it."""
    length = request.headers.get(_JSON_LENGTH)
    if length is None:
        body, tail = read_json(request), Tail(b"")
    else:
        content_type(request)
        # Long before int() would refuse it for its digits, it is longer than any body.
        if not (length.isascii() and length.isdigit() and len(length) < 20 and int(length) <= len(request.body)):
            raise Refused(400, f"Inference-Header-Content-Length is {length[:20]!r}, the body has {len(request.body)}")
        body, tail = decode(request.body[: int(length)]), Tail(request.body[int(length) :])
    if type(body) is not dict:
        raise Refused(400, f"expected an object, found {shown(body)}")
    return body, tail


def _columns(inputs: Any, fields: dict[str, Field], tail: Tail) -> dict[str, list[Any]]:
    """Return each tensor's values by its name."""
    if type(inputs) is not list or not inputs:
        raise Refused(400, "inputs: expected a list of tensors")
    columns: dict[str, list[Any]] = {}
    for number, tensor in enumerate(inputs):
        place = f"inputs[{number}]"
        if type(tensor) is not dict or type(name := tensor.get("name")) is not str:
            raise Refused(400, f"{place}: expected an object with name, shape, datatype and data")
        if name in columns:
            raise Refused(400, f"{place}: {name!r} is given twice")
        if (field := fields.get(name)) is None:
            raise Refused(400, f"{place}: there is no input {shown(name)}; there are {listed(fields)}")
        columns[name] = read(tensor, field, f"{place} ({name})", tail)
    if tail.rest:
        raise Refused(400, f"the last {tail.rest} bytes of the body belong to no tensor")
    return columns


def _wanted(body: JSON, results: dict[str, Field]) -> list[tuple[Field, bool]]:
    """Return the outputs asked for, all when none is, each with whether its values shall come as bytes."""
    everything = _flag(body, "binary_data_output", "the request") or False
    outputs = body.get("outputs")
    if outputs is None or outputs == []:
        return [(field, everything) for field in results.values()]
    if type(outputs) is not list or not all(type(output) is dict for output in outputs):
        raise Refused(400, "outputs: expected a list of objects with a name")
    wanted: dict[str, tuple[Field, bool]] = {}
    for number, output in enumerate(outputs):
        place, name = f"outputs[{number}]", output.get("name")
        if type(name) is not str or name not in results:
            raise Refused(400, f"{place}: {shown(name)} is none of {listed(results)}")
        if name in wanted:
            raise Refused(400, f"{place}: {name!r} is asked for twice")
        if parameter(output, "classification", place):
            raise Refused(400, f"{place}: this server has no extension 'classification'; it has {EXTENSIONS[0]}")
        binary = _flag(output, "binary_data", place)
        wanted[name] = (results[name], everything if binary is None else binary)
    return list(wanted.values())


def _flag(holder: JSON, name: str, place: str) -> bool | None:
    value = parameter(holder, name, place)
    if value is None or type(value) is bool:
        return value
    raise Refused(400, f"{place}: {name} is {shown(value)}, neither true nor false")
