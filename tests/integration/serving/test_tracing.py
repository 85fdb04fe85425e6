"""Traces reach a collector as OpenTelemetry's own protocol definition reads them; none, and nothing breaks."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.collector import Collector, collecting
from tests.image_roots import make_root
from tests.processes import below, wait_until

from modelyard.serving.model import Model
from modelyard.serving.signature import Signature
from modelyard.serving.tracing import TraceSettings

from .conftest import FACTS, Running, Start

ROW = {"a": 1, "b": 2.0, "word": "x"}
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TOKEN = secrets.token_urlsafe()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting("127.0.0.1") as server:
        yield server


def traced(start: Start, root: Path, endpoint: str, **more: str) -> Running:
    return start(root, environment={**FACTS, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **more})


def test_a_requests_span_is_part_of_its_clients_trace(start: Start, tmp_path: Path, collector: Collector) -> None:
    address = f"http://127.0.0.1:{collector.server_port}"
    given = {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{TOKEN}", "OTEL_RESOURCE_ATTRIBUTES": "team=a%20b"}
    running = traced(start, make_root(tmp_path / "root"), address, **given)
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "mine"}
    assert running.request("POST", "/predict", [ROW], headers).status == 200
    running.request("GET", "/nothing/of/this/kind", None, {"traceparent": f"00-{TRACE}-{PARENT}-00"})
    running.request("POST", "/predict", [], {"traceparent": "nonsense"})
    assert TOKEN.encode() not in b"".join(
        Path(f"/proc/{p.pid}/environ").read_bytes() for p in below(running.process.pid)
    )
    running.process.terminate()
    assert running.process.wait(20) == 0
    mine = next(span for span in collector.spans if span.get("parentSpanId") == PARENT)
    assert mine["traceId"] == TRACE
    assert mine["name"] == "POST /predict"
    assert 0 < int(mine["endTimeUnixNano"]) - int(mine["startTimeUnixNano"]) < 20e9
    attributes = {one["key"]: next(iter(one["value"].values())) for one in mine["attributes"]}
    assert attributes["http.response.status_code"] == "200"
    assert attributes["modelyard.request_id"] == "mine"
    own = [span for span in collector.spans if span["name"] == "POST /predict" and "parentSpanId" not in span]
    assert len(own) == 1
    assert len(own[0]["traceId"]) == 32
    assert not any("nothing" in json.dumps(span) for span in collector.spans), "its client does not trace it"
    for path, sent, body in collector.sent:
        assert path == "/v1/traces"
        assert (sent["content-type"], sent["authorization"]) == ("application/json", f"Bearer {TOKEN}")
        message = Parse(body, ExportTraceServiceRequest())
        facts = {one.key: one.value.string_value for one in message.resource_spans[0].resource.attributes}
        assert facts["service.name"] == "sum"
        assert facts["service.version"] == "3"
        assert facts["team"] == "a b"
        assert message.resource_spans[0].scope_spans[0].spans[0].kind == 2
    assert TOKEN not in running.log.read_text()


def test_a_collector_that_is_away_harms_nobody(start: Start, tmp_path: Path, free_port: int) -> None:
    running = traced(start, make_root(tmp_path / "root"), f"http://127.0.0.1:{free_port}")
    assert all(running.post("/predict", [ROW]).status == 200 for _ in range(20))
    wait_until(lambda: "traces are lost: 127.0.0.1:" in running.log.read_text(), "it is told", 20)
    assert "Traceback" not in running.log.read_text()


def test_who_cannot_be_sent_traces_is_no_reason_not_to_serve(start: Start, tmp_path: Path) -> None:
    running = traced(start, make_root(tmp_path / "root"), "http://127.0.0.1:1", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    assert running.post("/predict", [ROW]).status == 200
    assert "there will be no traces: OTEL_EXPORTER_OTLP_PROTOCOL is grpc" in running.log.read_text()


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "4318"),
        ({"OTEL_TRACES_SAMPLER": "mine"}, "OTEL_TRACES_SAMPLER is 'mine'"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"}, "between 0 and 1"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "no http:// or https:// address"),
    ],
)
def test_what_it_cannot_do_is_told(variables: dict[str, str], text: str) -> None:
    given = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", **variables}
    with pytest.raises(ValueError, match=text):
        TraceSettings.taken_from(given, model())


@pytest.mark.parametrize(
    "variables",
    [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, {"OTEL_SERVICE_NAME": "x"}],
)
def test_nobody_asks_for_traces(variables: dict[str, str]) -> None:
    assert TraceSettings.taken_from(dict(variables), model()) is None


def test_it_is_loaded_only_when_it_is_asked_for() -> None:
    code = "import sys, modelyard.serving.__main__; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"modelyard.serving.tracing", "http.client", "numpy"} & set(loaded)


def model() -> Model:
    return Model(
        "m", "1", "1", "sha256:0", {}, Signature.from_json({"kind": "columns", "inputs": [], "outputs": []}), {}
    )
