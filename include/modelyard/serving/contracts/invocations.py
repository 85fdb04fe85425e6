"""``/invocations`` of MLflow and SageMaker, and Azure ML's ``/score``: data frames, in JSON and in CSV."""

from __future__ import annotations

from typing import Any

from modelyard.serving.contracts import delimited
from modelyard.serving.contracts.body import content_type, read_object
from modelyard.serving.contracts.instances import of_columns, of_rows
from modelyard.serving.messages import Call, Contract, Outputs, Refused, Request, Response, in_json
from modelyard.serving.model import Model
from modelyard.serving.signature import shown

_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
_MOST_ATTRIBUTES = 1024
# MLflow's words for a status of ours; its own table has 400 for the first (mlflow/protos/databricks.proto's codes).
_ERRORS = {422: (400, "INVALID_PARAMETER_VALUE"), 503: (503, "TEMPORARILY_UNAVAILABLE")}


def mlflow(model: Model) -> Contract:
    """``/invocations``: exactly one of ``dataframe_split``, ``dataframe_records``, ``instances``, ``inputs``; or CSV.

    The answer is ``{"predictions": [value, …]}``: what the model's own predict returns, its first output; the same as
    CSV for who accepts nothing else.
    """
    first = (model.signature.outputs[0].name,)

    def parse(request: Request) -> Call:
        kind, parameters = content_type(request)
        if kind == "text/csv":
            read = delimited.read(model, request.body, parameters.get("header"))
            call = Call(read, len(next(iter(read.values())))) if isinstance(read, dict) else of_rows(model, *read)
        else:
            call = _frame(model, read_object(request))
        call.outputs = first
        call.facts["csv"] = _wants_csv(request.headers.get("accept", "*/*"))
        if attributes := request.headers.get(_ATTRIBUTES):
            call.facts["attributes"] = _attributes(attributes)
        return call

    def render(call: Call, outputs: Outputs) -> Response:
        if call.facts["csv"]:
            response = Response(200, delimited.write(outputs), "text/csv; charset=utf-8")
        else:
            response = in_json({"predictions": next(iter(outputs.values()))})
        if "attributes" in call.facts:
            response.headers = ((_ATTRIBUTES, call.facts["attributes"]),)
        return response

    def refuse(refused: Refused) -> Response:
        status, code = _ERRORS.get(refused.status, (refused.status, "BAD_REQUEST"))
        body = {"error_code": code, "message": refused.message}
        problems = {"problems": refused.problems} if refused.problems else {}
        return in_json({**body, "error": refused.message, **problems}, status, refused.headers)

    return Contract(parse, render, refuse)


def azure(model: Model) -> Contract:
    """``/score``: ``input_data`` as Azure ML asks an MLflow model, or ``data`` as most scoring scripts have it.

    ``input_data`` is a split data frame (``columns``, ``data``), an object of columns, or a list of rows. The
    answer is a bare list: the model's first output.
    """
    first = (model.signature.outputs[0].name,)

    def parse(request: Request) -> Call:
        body = read_object(request)
        if ("input_data" in body) == ("data" in body):
            raise Refused(400, "expected either 'input_data' or 'data'")
        value = body.get("input_data")
        if type(value) is dict:
            split = {"columns", "data"} <= value.keys() <= {"columns", "data", "index"}
            form = "dataframe_split" if split and value.keys() != model.signature.names else "inputs"
            call = _frame(model, {form: value})
        else:
            call = of_rows(model, body.get("data", value))
        call.outputs = first
        call.facts["headers"] = _azure_ids(request)
        return call

    def render(call: Call, outputs: Outputs) -> Response:
        return in_json(next(iter(outputs.values())), headers=call.facts["headers"])

    return Contract(parse, render)


def _frame(model: Model, body: dict[str, Any]) -> Call:
    given = [key for key in _FORMS if key in body]
    if len(given) != 1:
        raise Refused(400, f"expected one of {', '.join(_FORMS)}")
    value = body[given[0]]
    if given[0] == "inputs" and type(value) is dict:
        columns = of_columns(model, value)
        return Call(columns, len(next(iter(columns.values()))))
    if given[0] != "dataframe_split":
        return of_rows(model, value)
    if type(value) is not dict or type(value.get("data")) is not list:
        raise Refused(400, "dataframe_split: expected an object with columns and data")
    names = value.get("columns")
    if names is None or (model.signature.kind == "tensor" and type(names) is list):
        return of_rows(model, value["data"])  # the columns of an array have no names of their own
    if type(names) is not list or not all(type(name) is str for name in names) or len(set(names)) != len(names):
        raise Refused(400, f"dataframe_split: columns must be a list of different names, found {shown(names)}")
    return of_rows(model, value["data"], names)


def _wants_csv(accept: str) -> bool:
    """Return whether the answer is to be CSV; raises Refused: 406, it is to be neither that nor JSON."""
    weights: dict[str, float] = {}
    for kind in accept.lower().split(","):
        name, *parameters = (part.strip() for part in kind.split(";"))
        weights[name] = next((_weight(one[2:]) for one in parameters if one.startswith("q=")), 1.0)
    # What is named counts before what a star stands for (RFC 9110, 12.5.1). Of equals JSON is the usual one.
    as_json, as_csv = (
        next((weights[kind] for kind in kinds if kind in weights), 0.0)
        for kinds in (("application/json", "application/*", "*/*", ""), ("text/csv", "text/*", "*/*"))
    )
    if as_json or as_csv:
        return as_csv > as_json
    raise Refused(406, f"Accept is {accept[:60]!r}; the answer can be application/json or text/csv")


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0


def _attributes(text: str) -> str:
    if len(text) <= _MOST_ATTRIBUTES and _visible(text):
        return text
    raise Refused(400, f"{_ATTRIBUTES}: expected at most {_MOST_ATTRIBUTES} visible characters of ASCII")


def _azure_ids(request: Request) -> tuple[tuple[str, str], ...]:
    """Return the headers by which Azure ML follows a request through its services."""
    given = {name: request.headers.get(f"x-ms-{name}", "") for name in ("request-id", "client-request-id")}
    sane = {
        name: text for name, text in given.items() if 0 < len(text) <= 128 and text.isascii() and text.isprintable()
    }
    sane.setdefault("request-id", sane.get("client-request-id", request.id))
    return tuple((f"x-ms-{name}", text) for name, text in sane.items())


def _visible(text: str) -> bool:
    return text.isascii() and text.isprintable()
