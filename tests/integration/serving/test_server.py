"""The server process as a client sees it: contracts, refusals, pages."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.image_roots import OUTPUTS, ROWS, make_root

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
