"""``POST /predict``: rows as people type them, a prediction an object; and one row alone, as PredictionIO asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from modelyard.serving.contracts.body import decode, read_object, said_json
from modelyard.serving.messages import JSON, Call, Contract, Outputs, Refused, Request, Response, in_json
from modelyard.serving.model import Model
from modelyard.serving.signature import listed
from modelyard.serving.typed import rows_reader


def contract(model: Model) -> Contract:
    """Take ``{"rows": [{…}, …]}`` or the list alone; answer ``{"predictions": [{…}, …], "model_version": …}``."""
    quickly = rows_reader(model.signature)

    def parse(request: Request) -> Call:
        said_json(request)
        if quickly is not None and (call := quickly(request.body)) is not None:
            return call
        value = decode(request.body)
        if type(value) is dict:
            if value.keys() != {"rows"}:
                raise Refused(400, f'expected {{"rows": […]}} or a list of rows, found keys {listed(value) or "none"}')
            value = value["rows"]
        columns = model.signature.columns_of(value)
        return Call(columns, len(value))

    names = tuple(field.name for field in model.signature.outputs)
    prediction = _object_of(names)

    def render(_call: Call, outputs: Outputs) -> Response:
        if prediction is not None and tuple(outputs) == names:
            predictions: list[Any] = list(map(prediction, *outputs.values()))
        else:
            predictions = records(outputs)
        return in_json({"predictions": predictions, "model_version": model.version})

    return Contract(parse, render)


def query(model: Model) -> Contract:
    """PredictionIO's ``/queries.json``: the body is one row, the answer its prediction."""

    def parse(request: Request) -> Call:
        return Call(model.signature.columns_of([read_object(request)]), 1)

    def render(_call: Call, outputs: Outputs) -> Response:
        return in_json(records(outputs)[0])

    return Contract(parse, render)


def records(outputs: Outputs) -> list[JSON]:
    """Return one object a row."""
    return [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]


def _object_of(names: tuple[str, ...]) -> Callable[..., Any] | None:
    """Return what makes an object with these names of its values, written as JSON in half the time that a dict takes.

    None: there is none for such names.
    """
    fields = [f"value{number}" for number in range(len(names))]
    try:
        return msgspec.defstruct("Prediction", fields, rename=dict(zip(fields, names, strict=True)), gc=False)
    except ValueError:  # a name with a quotation mark, a backslash or a control character
        return None
