"""The server process as a client sees it: contracts, refusals, faults of the model."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from tests.image_roots import OUTPUTS, ROWS, make_root
from tests.processes import below

from modelyard.serving import keeper

from .conftest import FACTS, Running, Start

ROW = {"a": 1, "b": 2.0, "word": "x"}


def test_every_answer_tells_what_answered(server: Running) -> None:
    good, wrong = server.post("/predict", [ROW]), server.post("/predict", b"{")
    for answer in (good, wrong, server.get("/healthz"), server.get("/nothing")):
        assert answer.headers["modelyard-model-version"] == "3"
        assert answer.headers["modelyard-run-id"] == "17"
        assert answer.headers["modelyard-image-digest"] == FACTS["MODELYARD_IMAGE_DIGEST"]


@pytest.mark.parametrize("body", [{"rows": ROWS}, ROWS])
def test_plain_rows(server: Running, body: object) -> None:
    answer = server.post("/predict", body)
    assert answer.status == 200
    assert answer.json == {
        "predictions": [
            {"prediction": 1.5, "probability": [0.25, 0.75]},
            {"prediction": 2.25, "probability": [0.25, 0.75]},
        ],
        "model_version": "3",
    }


@pytest.mark.parametrize("path", ["/v2/models/sum/infer", "/v2/models/sum/versions/3/infer"])
def test_open_inference_protocol(server: Running, path: str) -> None:
    tensors = [
        {"name": "a", "shape": [2], "datatype": "INT64", "data": [1, 2]},
        {"name": "word", "shape": [2, 1], "datatype": "BYTES", "data": [["x"], ["y"]]},
        {"name": "b", "shape": [2, 1], "datatype": "FP64", "data": [0.5, 0.25]},
    ]
    answer = server.post(path, {"id": "42", "inputs": tensors})
    assert answer.json == {
        "model_name": "sum",
        "model_version": "3",
        "id": "42",
        "outputs": [
            {"name": "prediction", "shape": [2], "datatype": "FP64", "data": [1.5, 2.25]},
            {"name": "probability", "shape": [2, 2], "datatype": "FP64", "data": [0.25, 0.75, 0.25, 0.75]},
        ],
    }
    only = server.post(path, {"inputs": tensors, "outputs": [{"name": "prediction"}]}).json
    assert [output["name"] for output in only["outputs"]] == ["prediction"]


def test_open_inference_metadata(server: Running) -> None:
    assert server.get("/v2").json["name"] == "modelyard"
    metadata = server.get("/v2/models/sum").json
    assert metadata["inputs"][0] == {"name": "a", "datatype": "INT64", "shape": [-1]}
    assert metadata["outputs"][1]["shape"] == [-1, 2]
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/sum/ready", "/v2/models/sum/versions/3/ready"):
        assert server.get(path).status == 200


def test_kserve_v1_and_tensorflow_serving(server: Running) -> None:
    path = "/v1/models/sum:predict"
    expected = {"predictions": [{"prediction": 3.0, "probability": [0.25, 0.75]}]}
    assert server.post(path, {"instances": [ROW]}).json == expected
    assert server.post(path, {"instances": [[1, 2, "x"]]}).json == expected
    columns = {"inputs": {"a": [1, 2], "b": [0.5, 0.25], "word": ["x", None]}}
    assert server.post(path, columns).json == {"outputs": OUTPUTS}
    status = server.get("/v1/models/sum").json
    assert status["ready"] is True
    assert status["model_version_status"][0]["state"] == "AVAILABLE"


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["word", "a", "b"], "data": [["x", 1, 2]]}},
        {"dataframe_split": {"index": [0], "data": [[1, 2, "x"]]}},
        {"dataframe_records": [ROW]},
        {"instances": [[1, 2, "x"]]},
        {"inputs": {"a": [1], "b": [2], "word": ["x"]}},
    ],
)
def test_mlflow_invocations(server: Running, body: object) -> None:
    assert server.post("/invocations", body).json == {"predictions": [3.0]}
    assert server.get("/ping").status == 200


def test_vertex_routes_and_port_come_from_the_environment(start: Start, tmp_path: Path, free_port: int) -> None:
    vertex = {"AIP_HTTP_PORT": str(free_port), "AIP_HEALTH_ROUTE": "/v1/live", "AIP_PREDICT_ROUTE": "/v1/answer"}
    running = start(make_root(tmp_path / "root"), "--port", str(free_port), environment=vertex)
    assert running.get("/v1/live").status == 200
    assert running.post("/v1/answer", {"instances": [ROW]}).json["predictions"][0]["prediction"] == 3.0


def test_alone_it_says_that_it_does_not_know(start: Start, tmp_path: Path) -> None:
    running = start(make_root(tmp_path / "root"), environment={})
    assert running.get("/readyz").headers["modelyard-model-version"] == "unknown"
    assert running.post("/v1/models/model:predict", {"instances": [ROW]}).status == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/predict", b"\xff", 400, "no JSON"),
        ("/predict", b"[" * 100_000, 400, "too deeply"),
        ("/predict", {"row": []}, 400, 'expected {"rows"'),
        ("/predict", [], 400, "at least one row"),
        ("/predict", [{**ROW, "a": 1.5}], 422, "row 0, field 'a': expected an integer"),
        ("/predict", [ROW, {**ROW, "b": "2"}], 422, "row 1, field 'b'"),
        ("/predict", [{**ROW, "wort": 1}], 422, "did you mean 'word'"),
        ("/predict", [{**ROW, "word": "raise"}], 422, "ValueError: a word that the model does not know"),
        ("/v2/models/sum/infer", {"inputs": []}, 400, "inputs"),
        ("/v2/models/sum/infer", {"inputs": [{"name": "a"}]}, 400, "datatype"),
        (
            "/v2/models/sum/infer",
            {"inputs": [{"name": "a", "shape": [2], "datatype": "INT64", "data": [1]}]},
            400,
            "holds 2 values, data has 1",
        ),
        (
            "/v2/models/sum/infer",
            {"inputs": [{"name": "a", "shape": [1] * 1000, "datatype": "INT64", "data": [1]}]},
            400,
            "shape",
        ),
        (
            "/v2/models/sum/infer",
            {"inputs": [{"name": "a", "shape": [1], "datatype": "INT64", "data": [1]}]},
            422,
            "missing b, word",
        ),
        ("/v1/models/sum:predict", {}, 400, "instances"),
        ("/v1/models/sum:predict", {"instances": [[1]]}, 422, "expected 3 values"),
        ("/v1/models/sum:predict", {"inputs": {"a": [1], "b": [1, 2], "word": [None]}}, 422, "one value a row"),
        ("/v1/models/other:predict", {"instances": [ROW]}, 404, "this is model 'sum'"),
        ("/invocations", {"dataframe_split": {"columns": ["a", "a"], "data": []}}, 400, "different names"),
        ("/invocations", {"instances": [ROW], "inputs": [ROW]}, 400, "one of"),
        ("/readyz", {}, 405, "takes GET"),
    ],
)
def test_a_wrong_request_is_told_why(server: Running, path: str, body: object, status: int, text: str) -> None:
    answer = server.post(path, body)
    assert (answer.status, text in answer.json["error"]) == (status, True), answer.body


def test_only_json_is_taken(server: Running) -> None:
    answer = server.request("POST", "/predict", b"a,b\n", {"content-type": "text/csv"})
    assert answer.status == 415
    assert "application/json" in answer.json["error"]


def test_nan_is_null(server: Running) -> None:
    assert server.post("/predict", [{**ROW, "word": "nan"}]).json["predictions"][0]["prediction"] is None


def test_a_tensor_model(start: Start, tmp_path: Path) -> None:
    signature = {
        "kind": "tensor",
        "inputs": [{"name": "input", "datatype": "FP64", "shape": [-1, 3]}],
        "outputs": [{"name": "prediction", "datatype": "FP64", "shape": [-1]}],
    }
    golden = {"inputs": [[1.0, 2.0, 3.0]], "outputs": {"prediction": [6.0]}}
    running = start(make_root(tmp_path / "root", signature=signature, golden=golden))
    assert running.post("/predict", {"rows": [[1, 2, 3], [4, 5, 6]]}).json["predictions"] == [
        {"prediction": 6.0},
        {"prediction": 15.0},
    ]
    assert running.post("/v1/models/sum:predict", {"instances": [[1, 2, 3]]}).json == {"predictions": [6.0]}
    tensor = {"name": "input", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
    outputs = running.post("/v2/models/sum/infer", {"inputs": [tensor]}).json["outputs"]
    assert outputs == [{"name": "prediction", "shape": [1], "datatype": "FP64", "data": [6.0]}]
    assert running.post("/predict", [[1, 2]]).status == 422
    for table, kind, status in (
        (b"1,2,3\n", "text/csv", 200),
        (b"x,y,z\n1,2,3\n", "text/csv", 200),
        (b"0,1,2\n1,2,3\n", "text/csv; header=present", 200),
        (b"0,1,2\n", "text/csv", 400),
        (b"1,2\n", "text/csv", 400),
        (b"1,,3\n1,2,3\n", "text/csv", 400),
        (b"1,x,3\n1,2,3\n", "text/csv", 400),
    ):
        answer = running.request("POST", "/invocations", table, {"content-type": kind})
        assert answer.status == status, answer.body
        assert status != 200 or answer.json == {"predictions": [6.0]}


def test_a_model_process_that_dies_is_replaced(start: Start, tmp_path: Path) -> None:
    running = start(make_root(tmp_path / "root", load_seconds=0.5))
    answer = running.post("/predict", [{**ROW, "word": "die"}])
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "ended" in answer.json["error"]
    assert running.get("/readyz").status == 503
    assert running.get("/healthz").status == 200
    assert running.post("/predict", [ROW]).status == 200, "it waits for the next one"
    assert running.get("/readyz").status == 200
    assert "signal 9" in running.log.read_text()
    assert "modelyard_worker_restarts_total 2" in running.get("/metrics").body.decode(), "it was tried once more"


def test_a_server_that_is_killed_is_replaced_and_refuses_nobody(start: Start, tmp_path: Path, free_port: int) -> None:
    root = make_root(tmp_path / "root", load_seconds=0.5)
    running = start(root, "--port", str(free_port))
    (server,) = below(running.process.pid)[:1]
    time.sleep(keeper._YOUNG)
    os.kill(server.pid, signal.SIGKILL)
    for _ in range(20):
        assert running.post("/predict", [ROW]).status == 200
    assert "ended by signal 9; starting it again" in running.log.read_text()
    running.process.terminate()
    assert running.process.wait(20) == 0


def test_a_server_that_is_killed_as_it_starts_ends_its_container(start: Start, tmp_path: Path, free_port: int) -> None:
    running = start(make_root(tmp_path / "root"), "--port", str(free_port))
    (server,) = below(running.process.pid)[:1]
    os.kill(server.pid, signal.SIGKILL)
    assert running.process.wait(20) == 137


def test_it_ends_at_a_deadline_where_it_has_one(start: Start, tmp_path: Path, free_port: int) -> None:
    facts = FACTS | {"MODELYARD_DEADLINE_SECONDS": "2"}
    process = start(make_root(tmp_path / "root"), "--port", str(free_port), ready=False, environment=facts).process
    assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (
            '{"outputs": {"prediction": null, "probability": [[0, 1]]}}',
            "'prediction': expected a list with a value a row",
        ),
        ('{"outputs": {"prediction": 5, "probability": [[0, 1]]}}', "'prediction': expected a list with a value a row"),
        ('{"outputs": {"prediction": [1.0]}}', "it has no probability"),
        ('{"outputs": [1.0]}', "expected an object with prediction, probability"),
        ("{}", "expected an object with prediction, probability, found null"),
        ("[1.0]", "expected an object with prediction, probability, found [1.0]"),
        ('{"outputs": {"prediction": [1.0, 2.0], "probability": [[0, 1]]}}', "a value for each of 1 rows, found 2"),
        (
            '{"outputs": {"prediction": ["x"], "probability": [[0, 1]]}}',
            "row 0, output 'prediction': expected a number",
        ),
        ('{"outputs": {"prediction": ["\\ud800"], "probability": [[0, 1]]}}', "'prediction': expected a number"),
        ('{"outputs": {"prediction": [Infinity], "probability": [[0, 1]]}}', "found inf"),
        ('{"outputs": {"prediction": [1e999], "probability": [[0, 1]]}}', "found inf"),
        ('{"outputs": {"prediction": [9007199254740993], "probability": [[0, 1]]}}', "found 9007199254740993"),
        ('{"outputs": {"prediction": [1.0], "probability": [1]}}', "'probability': expected a list of shape 2"),
        ('{"outputs": {"prediction": [1.0], "probability": [null]}}', "'probability': expected a list of shape 2"),
        ('{"outputs": {"prediction": [1.0], "probability": [[0, 1, 2]]}}', "row 0, output 'probability'"),
        ('{"error": "ValueError: \\udc80"}', r"the model cannot answer this input: ValueError: \udc80"),
    ],
)
def test_an_odd_answer_of_the_model_is_told_and_harms_nobody_else(server: Running, said: str, text: str) -> None:
    odd = {**ROW, "word": f"={said}"}
    tensors = [
        {"name": "a", "shape": [1], "datatype": "INT64", "data": [1]},
        {"name": "b", "shape": [1], "datatype": "FP64", "data": [2]},
        {"name": "word", "shape": [1], "datatype": "BYTES", "data": [f"={said}"]},
    ]
    infer, in_bytes = {"inputs": tensors}, {"inputs": tensors, "parameters": {"binary_data_output": True}}
    second = "no probability" in text or "'probability'" in text  # which these two contracts do not ask for
    for path, body, status in (
        ("/predict", [odd], 422),
        ("/v2/models/sum/infer", infer, 422),
        ("/v2/models/sum/infer", in_bytes, 422),
        ("/v1/models/sum:predict", {"instances": [odd]}, 422),
        ("/invocations", {"dataframe_records": [odd]}, 200 if second else 400),
        ("/score", {"data": [odd]}, 200 if second else 422),
        ("/queries.json", odd, 422),
    ):
        answer = server.post(path, body)
        assert answer.status == status, answer.body
        assert status == 200 or text in answer.json["error"], answer.body
    assert server.post("/predict", [ROW]).status == server.get("/readyz").status == 200
    assert "modelyard_worker_restarts_total 0" in server.get("/metrics").body.decode()


def test_what_is_no_json_ends_the_models_process(start: Start, tmp_path: Path) -> None:
    running = start(make_root(tmp_path / "root"))
    assert running.post("/predict", [{**ROW, "word": "={"}]).status == 503
    assert running.post("/predict", [ROW]).status == 200


def test_with_two_workers_one_may_die(start: Start, tmp_path: Path, free_port: int) -> None:
    running = start(make_root(tmp_path / "root", load_seconds=1), "--workers", "2", "--port", str(free_port))
    assert running.post("/predict", [{**ROW, "word": "die"}]).status == 503
    assert running.post("/predict", [ROW]).status == 200


def test_not_ready_while_the_model_loads(start: Start, tmp_path: Path) -> None:
    running = start(make_root(tmp_path / "root", load_seconds=1), ready=False)
    deadline = time.monotonic() + 10
    while (answer := running.get("/readyz")).status != 503:
        assert time.monotonic() < deadline
    assert "being loaded" in answer.json["error"]
    assert running.get("/healthz").status == 200
    assert running.post("/predict", [ROW]).status == 503
    running.wait_ready()


def test_a_model_that_cannot_be_loaded_ends_the_server(start: Start, tmp_path: Path) -> None:
    running = start(make_root(tmp_path / "root", exit_at_start=True), ready=False)
    assert running.process.wait(20) == 1
    log = running.log.read_text()
    assert "the model file is broken" in log
    assert "exit code 1" in log
    (tmp_path / "root" / "model" / "modelyard.json").unlink()
    running = start(tmp_path / "root", ready=False)
    assert running.process.wait(20) == 1
    assert "modelyard.json" in running.log.read_text()
    assert "Traceback" not in running.log.read_text()


def test_a_model_that_takes_too_long_is_not_waited_for(start: Start, tmp_path: Path) -> None:
    environment = {**FACTS, "MODELYARD_ANSWER_SECONDS": "1"}
    running = start(make_root(tmp_path / "root"), environment=environment)
    began = time.monotonic()
    answer = running.post("/predict", [{**ROW, "b": 600.0, "word": "sleep"}])
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "has not answered in 1 s" in answer.json["error"]
    assert time.monotonic() - began < 10
    assert running.post("/predict", [ROW]).status == 200, "its process is another now"
    assert "the model's process has not answered in 1 s; starting it again" in running.log.read_text()
    assert "modelyard_worker_restarts_total 1" in running.get("/metrics").body.decode()


def test_a_body_may_be_limited(start: Start, tmp_path: Path) -> None:
    running = start(make_root(tmp_path / "root"), environment={**FACTS, "MODELYARD_MOST_BODY_BYTES": "100"})
    assert running.post("/predict", [ROW]).status == 200
    refused = running.post("/predict", [ROW] * 10)
    assert (refused.status, "at most 100 are taken" in refused.json["error"]) == (413, True)


@pytest.mark.parametrize("name", ["MODELYARD_MOST_BODY_BYTES", "MODELYARD_ANSWER_SECONDS"])
def test_a_limit_that_is_none_ends_the_start(start: Start, tmp_path: Path, name: str) -> None:
    running = start(make_root(tmp_path / "root"), ready=False, environment={name: "-1"})
    assert running.process.wait(20) == 1
    assert f"cannot start: {name} is '-1': give a number above zero" in running.log.read_text()


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


def test_pages_and_openapi(server: Running) -> None:
    page = server.request("GET", "/", None, {"accept": "text/html,*/*;q=0.8"})
    assert page.headers["content-type"].startswith("text/html")
    assert b"sum" in page.body
    assert b"&quot;word&quot;: &quot;x&quot;" in page.body
    assert b"/v2/models/sum/infer" in server.get("/docs").body
    document = server.get("/openapi.json").json
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            assert server.request(method.upper(), path, content.get("example")).status == 200, path


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
