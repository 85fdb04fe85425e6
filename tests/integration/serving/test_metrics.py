"""What the server tells of itself: metrics and access log, and drift of what it was asked."""

from __future__ import annotations

import json
from pathlib import Path

from tests.image_roots import make_root

from .conftest import Start

ROW = {"a": 1, "b": 2.0, "word": "x"}


def test_metrics_and_access_log(start: Start, tmp_path: Path) -> None:
    running = start(make_root(tmp_path / "root"))
    running.request("POST", "/predict", [ROW, ROW], {"x-request-id": "my-id"})
    running.post("/predict", [])
    running.get("/secret/path")
    assert running.get("/readyz").status == running.get("/v2/health/live").status == 200
    metrics = running.get("/metrics").body.decode()
    assert 'modelyard_model_info{model="sum",version="3",run_id="17"' in metrics
    assert 'modelyard_requests_total{route="/predict",status="200"} 1' in metrics
    assert 'modelyard_requests_total{route="/predict",status="400"} 1' in metrics
    assert 'modelyard_requests_total{route="other",status="404"} 1' in metrics
    assert 'modelyard_request_seconds_bucket{route="/predict",le="+Inf"} 2' in metrics
    assert "modelyard_rows_predicted_total 2" in metrics
    assert 'modelyard_request_errors_total{route="/predict",kind="client"} 1' in metrics
    assert 'modelyard_batch_rows_bucket{le="2"} 1' in metrics
    assert "modelyard_requests_waiting 0" in metrics
    running.process.terminate()
    assert running.process.wait(20) == 0
    lines = [json.loads(line) for line in running.access_log.read_text().splitlines()]
    entry = next(line for line in lines if line["request_id"] == "my-id")
    assert (entry["method"], entry["path"], entry["status"], entry["model_version"]) == ("POST", "/predict", 200, "3")
    assert "predicting" not in running.access_log.read_text()
    assert {line["path"] for line in lines if line["status"] == 200} == {"/predict", "/metrics"}


def test_drift_is_counted_against_training(start: Start, tmp_path: Path) -> None:
    root = make_root(tmp_path / "root")
    facts = json.loads((root / "model" / "modelyard.json").read_text())
    facts["profile"] = {
        "a": {"input": "a", "edges": [1, 5], "counts": [10, 20, 10, 0]},
        "word": {"input": "word", "values": ["x", "y"], "counts": [20, 15, 0, 5]},
    }
    (root / "model" / "modelyard.json").write_text(json.dumps(facts))
    running = start(root)
    assert running.post("/predict", [ROW, {**ROW, "a": 9, "word": None}, {**ROW, "word": "z"}]).status == 200
    assert running.post("/predict", [{**ROW, "a": "refused"}]).status == 422
    metrics = running.get("/metrics").body.decode()
    for labels, count in (('feature="a",bin="<=1"', 2), ('feature="a",bin=">5"', 1), ('feature="a",bin="<=5"', 0)):
        assert f"modelyard_input_values_total{{{labels}}} {count}\n" in metrics
    for label in ("=x", "other", "missing"):
        assert f'modelyard_input_values_total{{feature="word",bin="{label}"}} 1\n' in metrics
    assert 'modelyard_training_share{feature="word",bin="missing"} 0.125' in metrics
