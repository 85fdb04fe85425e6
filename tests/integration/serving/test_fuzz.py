"""Servers of real models, asked on every route by what their OpenAPI document says, and by random bytes: never a 5xx.

``MODELYARD_FAULTS`` multiplies the examples; the random bytes follow from ``MODELYARD_FAULTS_SEED``, which is printed.
"""

from __future__ import annotations

import http.client
import json
import os
import random
from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from . import small_models
from .conftest import FACTS, Running, Start

_TIMES = int(os.environ.get("MODELYARD_FAULTS", "1"))
_EXAMPLES, _BODIES = 12 * _TIMES, 20 * _TIMES
_CHECKS = [not_a_server_error, response_schema_conformance, content_type_conformance]
_ENDPOINT = "/v1/endpoints/7/deployedModels/8"
_VERTEX = {"AIP_PREDICT_ROUTE": f"{_ENDPOINT}:predict", "AIP_HEALTH_ROUTE": _ENDPOINT}
_PAGES = ["/", "/docs", "/openapi.json", "/no-route", "/%00%ff", "*"]


@pytest.fixture(scope="module", params=["compiled", "worker"])
def fuzzed(request: pytest.FixtureRequest, start: Start, tmp_path_factory: pytest.TempPathFactory) -> Running:
    """A server that has every route: of a model in onnxruntime, or of one in the project's own process."""
    folder = tmp_path_factory.mktemp("fuzzed")
    if request.param == "compiled":
        root = request.getfixturevalue("compiled_root")
    else:
        root = folder / "root"
        small_models.write("frame", root)
    log = json.dumps({"folder": str(folder / "log"), "seconds": 1})
    # Nobody asks beside the tests: a refusal for lack of time or room would be a mistake.
    others = {"MODELYARD_PREDICTION_LOG": log, "MODELYARD_ANSWER_SECONDS": "3000"}
    return start(root, environment=FACTS | _VERTEX | others)


@pytest.mark.timeout(600 * _TIMES)
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_what_the_document_allows_and_what_it_does_not(fuzzed: Running, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{fuzzed.port}/openapi.json")
    asked: Counter[str] = Counter()
    for found in schema.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]
        if operation.body or mode is GenerationMode.POSITIVE:  # what takes nothing can't be asked wrongly

            @settings(max_examples=_EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                case.call_and_validate(checks=_CHECKS)
                asked[f"{case.method} {case.path}"] += 1

            ask()
    paths = fuzzed.get("/openapi.json").json["paths"]
    wanted = {
        f"{method.upper()} {path}"
        for path, item in paths.items()
        for method, operation in item.items()
        if "requestBody" in operation or mode is GenerationMode.POSITIVE
    }
    assert asked.keys() == wanted
    assert {"POST /feedback", "POST /events.json", f"POST {_ENDPOINT}:predict"} < wanted
    assert min(count for route, count in asked.items() if route.startswith("POST")) >= _EXAMPLES * 0.8, asked
    nothing_happened(fuzzed)


@pytest.mark.timeout(600 * _TIMES)
def test_random_bytes_on_every_route(fuzzed: Running) -> None:
    seed = int(os.environ.get("MODELYARD_FAULTS_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"MODELYARD_FAULTS_SEED={seed}")
    chance = random.Random(seed)
    document = fuzzed.get("/openapi.json").json
    kinds = ["application/json", "text/csv", "application/octet-stream", "application/json; charset=utf-16", "\x01", ""]
    connection = http.client.HTTPConnection("127.0.0.1", fuzzed.port, timeout=600)
    for path in [*document["paths"], *_PAGES]:
        for _ in range(_BODIES):
            body = altered(example_of(document, path), chance)
            headers = {"content-type": chance.choice(kinds)}
            if chance.random() < 0.2:
                headers["inference-header-content-length"] = str(chance.choice([-1, 0, 3, 10**30, len(body)]))
            method = chance.choice(["GET", "POST", "POST", "POST", "PUT", "HEAD", "DELETE", "OPTIONS"])
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status < 500, (method, path, body, headers, text)
            assert b"Traceback" not in text
    connection.close()
    nothing_happened(fuzzed)


def example_of(document: dict[str, Any], path: str) -> bytes:
    """Return a body that the route takes, where it takes any."""
    operation = document["paths"].get(path, {}).get("post", {})
    example = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
    return b"" if example is None else json.dumps(example).encode()


def altered(body: bytes, chance: random.Random) -> bytes:
    """Return the body with a few other bytes in it, or something else that has nothing to do with it."""
    if not body or chance.random() < 0.4:
        return chance.randbytes(chance.choice([0, 1, 7, 200, 5000]))
    changed = bytearray(body)
    for _ in range(chance.randrange(1, 5)):
        begin = chance.randrange(len(changed) + 1)
        changed[begin : begin + chance.randrange(4)] = chance.choice([b"", b"9" * 400, b"[", b"null", b"-", b"\x00"])
        changed.insert(chance.randrange(len(changed) + 1), chance.randrange(256))
    return bytes(changed)


def nothing_happened(server: Running) -> None:
    assert server.get("/readyz").status == 200
    assert server.process.poll() is None
    metrics = server.get("/metrics").body.decode()
    assert "\nmodelyard_worker_restarts_total 0\n" in metrics
    assert 'modelyard_prediction_log_dropped_total{kind="feedback"} 0' in metrics
    log = server.log.read_text()  # with the traces of a model that refuses, which its own process writes
    assert not [words for words in ("the server made a mistake", "exception was never", "Exception in") if words in log]
