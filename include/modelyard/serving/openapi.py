"""The OpenAPI document: schemas from the signature, examples from the golden rows that are answered as they stand."""

from __future__ import annotations

from collections.abc import Mapping

from modelyard.serving.datatypes import integer_range
from modelyard.serving.messages import JSON
from modelyard.serving.model import Model
from modelyard.serving.signature import Field

_JSON_TYPES = {"BOOL": "boolean", "BYTES": "string"}
_PROBLEMS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["row", "field", "expected", "found"],
        "properties": {
            "row": {"type": "integer", "minimum": 0, "description": "from 0"},
            "field": {"type": ["string", "null"]},
            "expected": {"type": "string"},
            "found": {},
        },
    },
}


def document(model: Model, environment: Mapping[str, str], *, feedback: bool = False) -> JSON:
    """Return the OpenAPI document of every route but the pages: ``/``, ``/docs`` and this one.

    Routes that are answered alike have equal entries, one after the other.

    Args:
        model: whose signature and golden rows it shows.
        environment: names Vertex AI's routes.
        feedback: ground truth is taken, since there is a prediction log.
    """
    paths = {**_predicting(model), **(_feedback(model) if feedback else {}), **_telling(model)}
    # Last, as they go before any other of the same path.
    if route := environment.get("AIP_PREDICT_ROUTE"):
        asked = {**paths[f"/v1/models/{model.name}:predict"]["post"], "summary": "Vertex AI"}
        paths[route] = {**paths.pop(route, {}), "post": asked}
    if route := environment.get("AIP_HEALTH_ROUTE"):
        paths[route] = {**paths.pop(route, {}), **_get("Vertex AI: 200 when the model answers, 503 while it does not")}
    return {
        "openapi": "3.1.0",
        "info": {"title": model.name, "version": model.version},
        "paths": paths,
        "components": {
            "schemas": {
                "Row": _row(model, model.signature.inputs),
                "Prediction": _object(_answered(model)),
                "Error": _error("error"),
                "EventError": _error("message"),
            }
        },
    }


def _predicting(model: Model) -> JSON:
    rows = model.example()
    listed = {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Row"}}
    predictions: JSON = {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}}
    outputs = _answered(model)
    first = {"type": "array", "items": _schema(outputs[0]) if outputs else {}}
    each = first if len(outputs) == 1 else predictions
    whole = {"predictions": predictions, "model_version": {"type": "string"}}
    form = "dataframe_records" if model.signature.kind == "columns" else "instances"
    one: JSON = {name: values[0] for name, values in model.golden.items()}
    version = f"versions/{model.version}"
    version_1, version_2 = f"/v1/models/{model.name}", f"/v2/models/{model.name}"
    tensors = {"inputs": {"type": "array", "minItems": 1, "items": {"type": "object"}}}
    answered = {"model_name": {"type": "string"}, "outputs": {"type": "array", "items": {"type": "object"}}}
    mlflow = _post("MLflow, SageMaker", {form: listed}, {form: rows}, _properties({"predictions": first}))
    del mlflow["post"]["responses"]["422"]  # MLflow's status for it is 400
    return {
        "/predict": _post("Rows in, predictions out", {"rows": listed}, {"rows": rows}, _properties(whole)),
        **dict.fromkeys(
            (f"{version_2}/infer", f"{version_2}/{version}/infer"),
            _post("Open Inference Protocol v2", tensors, {"inputs": _tensors(model)}, _properties(answered)),
        ),
        **dict.fromkeys(
            (f"{version_1}:predict", f"{version_1}/{version}:predict"),
            _post(
                "KServe v1, TensorFlow Serving",
                {"instances": listed},
                {"instances": rows},
                _properties({"predictions": each}),
            ),
        ),
        "/invocations": mlflow,
        "/score": _post("Azure ML", {"input_data": listed}, {"input_data": rows}, first),
        "/queries.json": _post(
            "PredictionIO: one row", {name: {} for name in one}, one, {"$ref": "#/components/schemas/Prediction"}
        ),
    }


def _answered(model: Model) -> tuple[Field, ...]:
    """Return the outputs as they are answered: what is missing is null."""
    return tuple(field.or_missing() for field in model.signature.outputs)


def _feedback(model: Model) -> JSON:
    outputs = {field.name: _schema(field) for field in model.signature.outputs}
    golden = model.description["golden"].get("outputs") or {}
    true = {name: values[0] for name, values in golden.items() if name in outputs}
    text: JSON = {"type": "string", "minLength": 1, "maxLength": 256}
    first = next(iter(outputs.values()), {})
    record = {
        "request_id": {**text, "description": "the X-Request-Id of the answer that it is about"},
        "row": {"type": "integer", "minimum": 0, "description": "of that request; left out where it had one"},
        "entity": {**text, "description": "whom or what it is about, where no request is known"},
        "truth": {"anyOf": [{"type": "object", "properties": outputs, "minProperties": 1}, first]},
        "time": {"type": "string", "format": "date-time", "description": "when it came true"},
    }
    event = {
        "event": text,
        "entityType": text,
        "entityId": text,
        "properties": {"type": "object"},
        "eventTime": {"type": "string", "format": "date-time"},
        "prId": text,
    }
    examples = {
        "/feedback": {"request_id": "a-request-id", "truth": true},
        "/events.json": {"event": "outcome", "entityType": "user", "entityId": "17", "properties": true},
    }
    paths = {
        "/feedback": _post("What came true", record, examples["/feedback"], _properties({"accepted": {}})),
        "/events.json": _post(
            "PredictionIO: an event", event, examples["/events.json"], _properties({"eventId": {}}), "EventError"
        ),
    }
    for path, status, required in (
        ("/feedback", "202", ["truth"]),
        ("/events.json", "201", ["event", "entityType", "entityId"]),
    ):
        operation = paths[path]["post"]
        operation["requestBody"]["content"]["application/json"]["schema"]["required"] = required
        operation["responses"][status] = {**operation["responses"].pop("200"), "description": "It is kept"}
    return paths


def _telling(model: Model) -> JSON:
    version_1, version_2 = f"/v1/models/{model.name}", f"/v2/models/{model.name}"
    named_1, named_2 = (f"{base}/versions/{model.version}" for base in (version_1, version_2))
    ready = "200 when the model answers, 503 while it does not"
    told = (
        ("Names, types and shapes of inputs and outputs", version_2, named_2),
        (ready, f"{version_2}/ready", f"{named_2}/ready"),
        ("The server, and which extensions of the protocol it speaks", "/v2", "/v2/"),
        ("The model's name", "/v1/models"),
        ("The model's state, as KServe v1 and TensorFlow Serving tell it", version_1, named_1),
        ("The signature, as TensorFlow Serving tells it", f"{version_1}/metadata", f"{named_1}/metadata"),
        (ready, "/readyz", "/v2/health/ready", "/ping", "/health"),
        ("200 while the process lives", "/healthz", "/v2/health/live"),
        ("The server's version, as MLflow tells it", "/version"),
        ("Prometheus metrics", "/metrics"),
    )
    return {path: _get(summary) for summary, *paths in told for path in paths}


def _tensors(model: Model) -> list[JSON]:
    tensors = []
    for field in model.signature.inputs:
        values = model.golden[field.name][:1]
        shape, inner = [len(values)], values[0]
        while type(inner) is list:
            shape.append(len(inner))
            inner = inner[0] if inner else None
        tensors.append({"name": field.name, "shape": shape, "datatype": field.datatype, "data": values})
    return tensors


def _get(summary: str) -> JSON:
    return {"get": {"summary": summary, "responses": {"200": {"description": "OK"}}}}


def _post(summary: str, properties: JSON, example: JSON, answer: JSON, error: str = "Error") -> JSON:
    refused = {"application/json": {"schema": {"$ref": f"#/components/schemas/{error}"}}}
    return {
        "post": {
            "summary": summary,
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": _properties(properties), "example": example}},
            },
            "responses": {
                "200": {"description": "The predictions", "content": {"application/json": {"schema": answer}}},
                "400": {"description": "No JSON, or not of this shape", "content": refused},
                "401": {"description": "The server asks for a token: Authorization: Bearer TOKEN", "content": refused},
                "408": {"description": "The request did not arrive in time", "content": refused},
                "413": {"description": "The body is too large", "content": refused},
                "415": {"description": "The body is of another kind", "content": refused},
                "422": {
                    "description": "A row or field is not what the model takes; the answer names it",
                    "content": refused,
                },
                "429": {
                    "description": "Too many requests wait for the model; Retry-After tells when to come back",
                    "content": refused,
                },
                "503": {
                    "description": "The model is being started or is too slow; Retry-After tells when to come back",
                    "content": refused,
                },
            },
        }
    }


def _error(name: str) -> JSON:
    return {"type": "object", "required": [name], "properties": {name: {"type": "string"}, "problems": _PROBLEMS}}


def _properties(properties: JSON) -> JSON:
    return {"type": "object", "required": list(properties), "properties": properties}


def _row(model: Model, fields: tuple[Field, ...]) -> JSON:
    if model.signature.kind == "tensor":
        return _schema(fields[0])
    return {**_object(fields), "additionalProperties": False}


def _object(fields: tuple[Field, ...]) -> JSON:
    return _properties({field.name: _schema(field) for field in fields})


def _schema(field: Field) -> JSON:
    schema: JSON = {"type": _JSON_TYPES.get(field.datatype, "integer" if "INT" in field.datatype else "number")}
    if "INT" in field.datatype:
        schema["minimum"], schema["maximum"] = integer_range(field.datatype)
    if field.categories:
        schema["enum"] = [*field.categories, None] if field.nullable else [*field.categories]
    if field.nullable:
        schema["type"] = [schema["type"], "null"]
    for size in reversed(field.shape):
        schema = {"type": "array", "items": schema}
        if size >= 0:
            schema |= {"minItems": size, "maxItems": size}
    return schema
