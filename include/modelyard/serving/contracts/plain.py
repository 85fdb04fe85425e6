"""``POST /predict``: rows as people type them, a prediction an object."""

from __future__ import annotations

from modelyard.serving.contracts.body import read_json
from modelyard.serving.messages import JSON, Call, Outputs, Parse, Refused, Render, Request
from modelyard.serving.model import Model


def contract(model: Model) -> tuple[Parse, Render]:
    """Take ``{"rows": [{…}, …]}`` or the list alone; answer ``{"predictions": [{…}, …], "model_version": …}``."""

    def parse(request: Request) -> Call:
        value = read_json(request)
        if type(value) is dict:
            if value.keys() != {"rows"}:
                raise Refused(
                    400, f'expected {{"rows": […]}} or a list of rows, found keys {", ".join(value) or "none"}'
                )
            value = value["rows"]
        columns = model.signature.columns_of(value)
        return Call(columns, len(value))

    def render(_call: Call, outputs: Outputs) -> JSON:
        return {"predictions": records(outputs), "model_version": model.version}

    return parse, render


def records(outputs: Outputs) -> list[JSON]:
    """Return one object a row."""
    return [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
