"""What each platform's specification says of its routes, beyond the prediction itself."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate
from tests.image_roots import make_root

import modelyard

from .conftest import Running, Start

ROW = {"a": 1, "b": 2.0, "word": "x"}
CSV = "word,a,b\nx,1,2\n"


def test_a_long_body_is_answered_and_refused_as_a_short_one(server: Running) -> None:
    rows = [f"x,{number},2.5" for number in range(20_000)]
    answer = server.post("/invocations", "\n".join(["word,a,b", *rows]).encode(), **{"content-type": "text/csv"})
    assert answer.json["predictions"] == [number + 2.5 for number in range(20_000)]
    rows[12_345] = "x,1.5,2.5"
    answer = server.post("/invocations", "\n".join(["word,a,b", *rows]).encode(), **{"content-type": "text/csv"})
    assert (answer.status, answer.json["problems"][0]["row"]) == (400, 12_345)
    answer = server.post("/predict", [ROW] * 10_000)
    assert answer.json["predictions"] == server.post("/predict", [ROW]).json["predictions"] * 10_000


def test_tensorflow_serving(server: Running) -> None:
    path = "/v1/models/sum:predict"
    for name in ("serving_default", ""):
        assert server.post(path, {"signature_name": name, "instances": [ROW]}).status == 200
    for body, text in (
        ({"signature_name": "other", "instances": [ROW]}, 'there is no "other"'),
        ({"instances": [ROW], "inputs": {}}, "either 'instances'"),
        ({"instances": [{**ROW, "word": {"b64": "%"}}]}, "row 0, field 'word'"),
        ({"instances": [ROW, {**ROW, "word": {"b64": "/w=="}}]}, "row 1, field 'word'"),
    ):
        answer = server.post(path, body)
        assert answer.status in (400, 422)
        assert text in answer.json["error"]
    encoded = {"b64": base64.b64encode("zwölf".encode()).decode()}
    assert server.post(path, {"instances": [{**ROW, "word": encoded}]}).status == 200
    metadata = server.get("/v1/models/sum/metadata").json
    assert metadata["model_spec"] == {"name": "sum", "signature_name": "", "version": "3"}
    definition = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert definition["inputs"]["word"]["dtype"] == "DT_STRING"
    assert definition["outputs"]["probability"]["tensor_shape"]["dim"][1]["size"] == "2"
    assert server.get("/v1/models/sum/versions/3").json["model_version_status"][0]["version"] == "3"
    assert server.get("/v1/models").json == {"models": ["sum"]}
    assert server.get("/v1/models/other").json.keys() == {"error"}


def echo(start: Start, folder: Path, fields: list[dict[str, Any]], row: dict[str, Any]) -> Running:
    """Start a server of a model that answers its inputs."""
    signature = {"kind": "columns", "inputs": fields, "outputs": fields}
    root = make_root(folder / "root", signature=signature, golden={"inputs": [row], "outputs": {}})
    worker = root / "environment" / "worker.py"
    code = worker.read_text()
    branch = code.index("        columns = request"), code.index("    body = json")
    worker.write_text(f'{code[: branch[0]]}        answer = {{"outputs": request["columns"]}}\n{code[branch[1] :]}')
    return start(root)


def encoded(text: str) -> dict[str, str]:
    return {"b64": base64.b64encode(text.encode()).decode()}


def test_tensorflow_servings_text_alone(start: Start, tmp_path: Path) -> None:
    running = echo(start, tmp_path, [{"name": "word", "datatype": "BYTES", "shape": [-1]}], {"word": "x"})
    path = "/v1/models/sum:predict"
    for rows in ([encoded("zwölf"), "x"], [{"word": encoded("zwölf")}, {"word": "x"}]):
        assert running.post(path, {"instances": rows}).json == {"predictions": ["zwölf", "x"]}
    assert running.post(path, {"inputs": [encoded("zwölf"), "x"]}).json == {"outputs": ["zwölf", "x"]}
    answer = running.post(path, {"instances": ["x", {"b64": "%"}]})
    assert (answer.status, answer.json["problems"][0]["row"]) == (422, 1)


def test_tensorflow_servings_bytes_in_tensors(start: Start, tmp_path: Path) -> None:
    fields: list[dict[str, Any]] = [
        {"name": "size_bytes", "datatype": "INT64", "shape": [-1]},
        {"name": "words_bytes", "datatype": "BYTES", "shape": [-1, 2]},
        {"name": "b64", "datatype": "BYTES", "shape": [-1], "nullable": True},
    ]
    row = {"size_bytes": 123, "words_bytes": ["p", "q"], "b64": None}
    running = echo(start, tmp_path, fields, row)
    answer = running.post("/v1/models/sum:predict", {"instances": [{**row, "words_bytes": [encoded("zwölf"), "q"]}]})
    assert answer.json["predictions"] == [
        {"size_bytes": 123, "words_bytes": [encoded("zwölf"), encoded("q")], "b64": None}
    ], "only text is encoded, and what is missing stays so"


def test_an_input_may_be_named_as_the_encoding_is(start: Start, tmp_path: Path) -> None:
    running = echo(start, tmp_path, [{"name": "b64", "datatype": "BYTES", "shape": [-1]}], {"b64": "x"})
    assert running.post("/v1/models/sum:predict", {"instances": [{"b64": "eA=="}]}).json == {"predictions": ["eA=="]}


def test_of_a_name_given_twice_the_last_value_counts(server: Running) -> None:
    twice = b'{"a": 5, "b": 2.0, "word": "x", "a": 1}'
    for path, body in (
        ("/predict", b"[%s]" % twice),
        ("/predict", b'[{"a": 5, "b": 2, "word": "x", "a": 1.0}]'),  # which is read in the general way
        ("/v1/models/sum:predict", b'{"instances": [%s]}' % twice),
    ):
        assert server.post(path, body).json["predictions"][0]["prediction"] == 3.0, body


def test_tensorflow_servings_words_for_numbers_that_json_lacks(server: Running) -> None:
    path = "/v1/models/sum:predict"
    for word in (b"NaN", b"Infinity", b"-Infinity", b"1e999"):
        answer = server.post(
            path, b'{"instances": [{"a": 1, "b": 2, "word": "x"}, {"a": 1, "word": "", "b": %s}]}' % word
        )
        assert (answer.status, "row 1, field 'b'" in answer.json["error"]) == (422, True), answer.body
    answer = server.post(path, b'{"instances": [{"a": 1, "b": 2, "word": NaN}]}')
    assert answer.status == 200, "NaN is missing, and this field may be"
    assert server.post(path, b'{"instances": [{"a": 1, "b": 2, "word": "\\ud800"}], "x": NaN}').status == 400


@pytest.mark.parametrize(
    ("text", "kind", "status", "expected"),
    [
        (CSV, "text/csv", 200, [3.0]),
        (CSV, "text/csv; charset=utf-8; header=present", 200, [3.0]),
        ("1,2,x\r\n2,.25,\r\n", "text/csv", 200, [3.0, 2.25]),
        ("1,2,x\n", "text/csv; header=absent", 200, [3.0]),
        ('\ufeffa,b,word\n1,2e0,"x,\n""y"""\n\n', "TEXT/CSV", 200, [3.0]),
        ("a,b,word\n1.0,2,x\n", "text/csv", 200, [3.0]),
        ("a,b,word\n1.5,2,x\n", "text/csv", 400, "row 0, field 'a': expected an integer"),
        ("a,b,word\n1,2,x\n1,1_0,x\n", "text/csv", 400, "row 1, field 'b': expected a number"),
        ("a,b,word\n1,,x\n", "text/csv", 400, "row 0, field 'b': expected a number (FP64), found null"),
        ("a,b,word\n1,1e999,x\n", "text/csv", 400, "found inf"),
        ("a,b,wort\n1,2,x\n", "text/csv", 400, "field 'word': expected text (BYTES) or null, found nothing"),
        ("a,b\n1,2\n", "text/csv", 400, "row 0, field 'word'"),
        ("a,b,word\n1,2\n", "text/csv", 400, "row 0: expected 3 values (a, b, word), found 2"),
        ("a,b,word\n1,2,x,9\n", "text/csv", 400, "row 0: expected 3 values"),
        ("a,a,word\n1,2,x\n", "text/csv", 400, "different names"),
        ("a,b,word\n", "text/csv", 400, "at least one row"),
        ("", "text/csv", 400, "at least one row"),
        ('a,b,word\n1,2,"x\n', "text/csv", 400, "no CSV"),
        ("a,b,word\n9007199254740993,0,x\n", "text/csv", 200, [float(2**53 + 1)]),
        ("a,b,word\n9007199254740993.0,0,x\n", "text/csv", 400, "row 0, field 'a': expected an integer"),
        ("a,b,word\n0,1,x\n0,9007199254740993,x\n", "text/csv", 400, "row 1, field 'b': expected a number"),
        ("a,b,word\n0,-9007199254740993,x\n0,,x\n", "text/csv", 400, "found -9007199254740993"),
        ("a,b,word\n0,9007199254740994,x\n0,9007199254740993.0,x\n", "text/csv", 200, [2.0**53 + 2, 2.0**53]),
        (CSV, "text/csv; charset=latin-1", 415, "only UTF-8"),
        (CSV, "text/tab-separated-values", 415, "takes application/json"),
    ],
)
def test_csv(server: Running, text: str, kind: str, status: int, expected: Any) -> None:
    answer = server.request("POST", "/invocations", text.encode(), {"content-type": kind})
    assert answer.status == status, answer.body
    if status == 200:
        assert answer.json["predictions"] == expected
    else:
        assert expected in answer.json["message"], answer.body


def test_mlflow_tells_errors_in_its_own_words(server: Running) -> None:
    answer = server.post("/invocations", {"dataframe_records": [{**ROW, "a": "1"}]})
    assert (answer.status, answer.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "row 0, field 'a'" in answer.json["message"]
    assert server.post("/invocations", {}).json["error_code"] == "BAD_REQUEST"
    assert server.get("/version").body.decode() == modelyard.__version__
    assert server.get("/health").status == 200


def test_sagemaker_starts_an_image_with_a_word(start: Start, tmp_path: Path, free_port: int) -> None:
    start(make_root(tmp_path / "root"), "serve", "--port", str(free_port))


def test_sagemaker(server: Running) -> None:
    custom = {"X-Amzn-SageMaker-Custom-Attributes": "trace=17", "Accept": "application/json"}
    answer = server.post("/invocations", {"instances": [ROW]}, **custom)
    assert answer.headers["x-amzn-sagemaker-custom-attributes"] == "trace=17"
    answer = server.request("POST", "/invocations", CSV.encode(), {"content-type": "text/csv", "accept": "text/csv"})
    assert (answer.headers["content-type"], answer.body) == ("text/csv; charset=utf-8", b"3.0\n")
    assert server.post("/invocations", {"instances": [ROW]}, Accept="application/x-npy").status == 406
    assert server.post("/invocations", {"instances": [ROW]}, **{custom.popitem()[0]: "*/*"}).status == 200
    long = {"X-Amzn-SageMaker-Custom-Attributes": "x" * 1025}
    assert server.post("/invocations", {"instances": [ROW]}, **long).status == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"input_data": {"columns": ["word", "a", "b"], "index": [0], "data": [["x", 1, 2]]}}, 200),
        ({"input_data": {"a": [1], "b": [2], "word": ["x"]}}, 200),
        ({"input_data": [ROW], "params": {}}, 200),
        ({"data": [[1, 2, "x"]]}, 200),
        ({"data": [ROW], "input_data": [ROW]}, 400),
        ({}, 400),
        ({"input_data": {"columns": ["a", "b"], "data": [[1, 2]]}}, 422),
    ],
)
def test_azure_ml(server: Running, body: Any, status: int) -> None:
    answer = server.post("/score", body, **{"x-ms-client-request-id": "mine"})
    assert answer.status == status, answer.body
    if status == 200:
        assert answer.json == [3.0]
        assert answer.headers["x-ms-client-request-id"] == answer.headers["x-ms-request-id"] == "mine"
    probe = server.get("/")
    assert (probe.status, probe.body) == (200, b"Healthy")


def test_predictionio(server: Running) -> None:
    assert server.post("/queries.json", ROW).json == {"prediction": 3.0, "probability": [0.25, 0.75]}
    assert "expected an object" in server.post("/queries.json", [ROW]).json["error"]
    assert server.post("/queries.json", {"a": 1}).status == 422


def test_vertex_wins_over_routes_of_the_same_name(start: Start, tmp_path: Path, free_port: int) -> None:
    vertex = {"AIP_HTTP_PORT": str(free_port), "AIP_HEALTH_ROUTE": "/", "AIP_PREDICT_ROUTE": "/predict"}
    root = make_root(tmp_path / "root", load_seconds=1)
    running = start(root, "--port", str(free_port), environment=vertex, ready=False)
    running.wait_ready()
    assert running.get("/").json["ready"] is True
    answer = running.post("/predict", {"instances": [ROW], "parameters": {"x": 1}})
    assert answer.json["predictions"][0]["prediction"] == 3.0


@pytest.mark.parametrize("path", ["/predict", "/v2/models/sum/infer", "/invocations", "/score", "/queries.json"])
def test_a_compressed_body_is_not_taken_for_broken_json(server: Running, path: str) -> None:
    answer = server.post(path, b"\x1f\x8b", **{"content-encoding": "gzip", "content-type": "application/json"})
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "identity")


def test_categories_times_and_ranges(start: Start, tmp_path: Path) -> None:
    signature = {
        "kind": "columns",
        "inputs": [
            {"name": "a", "datatype": "INT8", "shape": [-1]},
            {"name": "b", "datatype": "FP64", "shape": [-1], "categories": [1.0, 2.0]},
            {"name": "word", "datatype": "BYTES", "shape": [-1], "nullable": True, "categories": ["x", "y"]},
            {"name": "at", "datatype": "BYTES", "shape": [-1], "dtype": "datetime64[ns]"},
        ],
        "outputs": [{"name": "prediction", "datatype": "FP64", "shape": [-1]}],
    }
    row = {"a": 1, "b": 2, "word": "x", "at": "2026-03-01T09:00:00"}
    golden = {"inputs": [row], "outputs": {"prediction": [3.0]}}
    running = start(make_root(tmp_path / "root", signature=signature, golden=golden))
    assert running.post("/predict", [row, {**row, "word": None}]).status == 200
    for change, text in (
        ({"word": "z"}, 'field \'word\': expected one of "x", "y" (BYTES) or null, found "z"'),
        ({"b": 3}, "field 'b': expected one of 1.0, 2.0 (FP64), found 3"),
        ({"at": "yesterday"}, "field 'at': expected a time in ISO 8601"),
        ({"a": 128}, "field 'a': expected an integer from -128 to 127"),
    ):
        answer = running.post("/predict", [row, row | change])
        assert (answer.status, text in answer.json["error"]) == (422, True), answer.body
        assert answer.json["problems"][0]["row"] == 1
    schema = running.get("/openapi.json").json["components"]["schemas"]["Row"]["properties"]
    assert schema["a"] == {"type": "integer", "minimum": -128, "maximum": 127}
    assert schema["word"] == {"type": ["string", "null"], "enum": ["x", "y", None]}


def test_every_answer_is_what_the_openapi_document_says(server: Running) -> None:
    document = server.get("/openapi.json").json
    for path, body in (
        ("/predict", {"rows": [{**ROW, "word": "nan"}]}),
        ("/v1/models/sum:predict", {"instances": [{**ROW, "word": "nan"}]}),
        ("/invocations", {"dataframe_records": [{**ROW, "word": "nan"}]}),
        ("/score", {"input_data": [{**ROW, "word": "nan"}]}),
        ("/queries.json", {**ROW, "word": "nan"}),
    ):
        answer = server.post(path, body)
        assert b"null" in answer.body
        schema = document["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(answer.json)


def test_the_openapi_document_is_one(server: Running) -> None:
    document = server.get("/openapi.json").json
    validate(document)
    examples = json.dumps(document)
    for path in (
        "/predict",
        "/v2/models/sum/infer",
        "/v1/models/sum:predict",
        "/invocations",
        "/score",
        "/queries.json",
    ):
        assert path in document["paths"]
    assert '"word": "x"' in examples
