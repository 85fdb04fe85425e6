"""The OpenAPI document has every route: what reads it, as the fuzzing tests do, asks all that the server answers."""

from __future__ import annotations

import io
from typing import Any, cast

import pytest
from openapi_spec_validator import validate

from modelyard.serving.access_log import AccessLog
from modelyard.serving.application import Application
from modelyard.serving.model import Model
from modelyard.serving.openapi import document
from modelyard.serving.pages import docs
from modelyard.serving.prediction_log import PredictionLog
from modelyard.serving.signature import Signature

_FIELD = {"name": "x", "datatype": "INT64", "shape": [-1]}
_SIGNATURE = Signature.from_json({"kind": "columns", "inputs": [_FIELD], "outputs": [_FIELD]})
_MODEL = Model("m", "4", "1", "sha256:0", {"golden": {}}, _SIGNATURE, {"x": [1]})
_PAGES = {("GET", "/"), ("GET", "/docs"), ("GET", "/openapi.json")}
_ENDPOINT = "/v1/endpoints/7/deployedModels/8"


class Kept(PredictionLog):
    """Is there."""

    def __init__(self) -> None:
        pass


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"AIP_PREDICT_ROUTE": f"{_ENDPOINT}:predict", "AIP_HEALTH_ROUTE": _ENDPOINT},
        {"AIP_PREDICT_ROUTE": _ENDPOINT, "AIP_HEALTH_ROUTE": _ENDPOINT},
        {"AIP_PREDICT_ROUTE": "/invocations", "AIP_HEALTH_ROUTE": "/ping"},
    ],
)
def test_every_route_is_in_it(environment: dict[str, str]) -> None:
    told = document(_MODEL, environment, feedback=True)
    validate(cast("Any", told))
    told_routes = {(method.upper(), path) for path, item in told["paths"].items() for method in item}
    log = AccessLog(io.BytesIO(), "4")
    answered = Application(_MODEL, cast("Any", None), log, environment, predictions=Kept())._routes
    assert told_routes == answered.keys() - _PAGES


def test_vertex_ai_is_told_of_its_own_contract_wherever_it_asks() -> None:
    told = document(_MODEL, {"AIP_PREDICT_ROUTE": "/invocations"})["paths"]["/invocations"]["post"]
    (form,) = told["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert (told["summary"], form) == ("Vertex AI", "instances")


def test_the_page_shows_routes_that_are_answered_alike_together() -> None:
    page = docs(_MODEL, document(_MODEL, {})).decode()
    both = "<code>POST /v2/models/m/infer</code><br><code>POST /v2/models/m/versions/4/infer</code>"
    assert both in page
    assert page.count("<pre>") == 6
