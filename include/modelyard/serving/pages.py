"""What people see in a browser: the model's facts with a form that predicts, and the routes with examples that work."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import msgspec

from modelyard.serving.messages import JSON
from modelyard.serving.model import Model
from modelyard.serving.signature import Field

_JSON_TYPES = {"BOOL": "boolean", "BYTES": "string"}


def facts(model: Model) -> bytes:
    """Return ``/``: what answers here, its inputs with a golden row filled in, and a button."""
    description = model.description
    rows = {
        "Version": model.version,
        "Sacred run": model.run_id,
        "Image": model.image_digest,
        "Flavor": str(description.get("flavor", "")),
        "Task": str(description.get("task") or "not stated"),
        "Classes": ", ".join(map(str, description.get("classes") or [])) or "none",
        "Python": str(description.get("python", "")),
    }
    return _page(
        "page.html",
        name=model.name,
        facts="".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows.items()),
        inputs="".join(_row(field) for field in model.signature.inputs),
        outputs="".join(_row(field) for field in model.signature.outputs),
        example=escape(msgspec.json.format(msgspec.json.encode({"rows": model.example()})).decode()),
    )


def docs(model: Model) -> bytes:
    """Return ``/docs``: every route that predicts, with a request that is answered when pasted into a shell."""
    parts = []
    for path, operations in openapi(model)["paths"].items():
        for method, operation in operations.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}</p>")
            if "requestBody" in operation:
                example = operation["requestBody"]["content"]["application/json"]["example"]
                parts.append(f"<pre>{escape(msgspec.json.format(msgspec.json.encode(example)).decode())}</pre>")
    return _page("docs.html", name=model.name, routes="".join(parts))


def openapi(model: Model) -> JSON:
    """Return the OpenAPI document: schemas from the signature, examples from the golden rows."""
    rows = model.example()
    version = f"/v2/models/{model.name}"
    tensors = [
        {
            "name": field.name,
            "shape": [len(rows), *_shape(model.golden[field.name][0])],
            "datatype": field.datatype,
            "data": model.golden[field.name][: len(rows)],
        }
        for field in model.signature.inputs
    ]
    listed = {"type": "array", "minItems": 1, "items": _row_schema(model)}
    return {
        "openapi": "3.1.0",
        "info": {"title": model.name, "version": model.version},
        "paths": {
            "/predict": _post("Rows in, predictions out", {"rows": listed}, {"rows": rows}),
            f"{version}/infer": _post("Open Inference Protocol v2", {"inputs": {"type": "array"}}, {"inputs": tensors}),
            f"/v1/models/{model.name}:predict": _post(
                "KServe v1, TensorFlow Serving", {"instances": listed}, {"instances": rows}
            ),
            "/invocations": _post("MLflow, SageMaker", {"dataframe_records": listed}, {"dataframe_records": rows})
            if model.signature.kind == "columns"
            else _post("MLflow, SageMaker", {"instances": listed}, {"instances": rows}),
            version: _get("Names, types and shapes of inputs and outputs"),
            "/readyz": _get("200 when the model answers, 503 while it does not"),
            "/healthz": _get("200 while the process lives"),
            "/metrics": _get("Prometheus metrics"),
        },
    }


def _get(summary: str) -> JSON:
    return {"get": {"summary": summary, "responses": {"200": {"description": "OK"}}}}


def _post(summary: str, properties: JSON, example: JSON) -> JSON:
    schema = {"type": "object", "required": list(properties), "properties": properties}
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}},
            "responses": {
                "200": {"description": "The predictions"},
                "400": {"description": "No JSON, or not of this shape"},
                "422": {"description": "A row or field is not what the model takes; the answer names it"},
                "503": {"description": "The model is being started; Retry-After tells when to come back"},
            },
        }
    }


def _row_schema(model: Model) -> JSON:
    if model.signature.kind == "tensor":
        return _schema(model.signature.inputs[0])
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [field.name for field in model.signature.inputs],
        "properties": {field.name: _schema(field) for field in model.signature.inputs},
    }


def _schema(field: Field) -> JSON:
    kind = _JSON_TYPES.get(field.datatype, "integer" if "INT" in field.datatype else "number")
    schema: JSON = {"type": [kind, "null"] if field.nullable else kind}
    for size in reversed(field.shape):
        schema = {"type": "array", "items": schema}
        if size >= 0:
            schema |= {"minItems": size, "maxItems": size}
    return schema


def _shape(value: Any) -> list[int]:
    return [len(value), *_shape(value[0])] if type(value) is list and value else []


def _row(field: Field) -> str:
    shape = "×".join("any" if size < 0 else str(size) for size in field.shape)
    kind = f"{field.datatype} {shape}".strip() + (" or null" if field.nullable else "")
    return f"<tr><td>{escape(field.name)}</td><td>{kind}</td></tr>"


def _page(template: str, **values: str) -> bytes:
    values["name"] = escape(values["name"])
    return Template((files(__package__) / template).read_text("utf-8")).substitute(values).encode()
