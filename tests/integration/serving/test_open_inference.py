"""The Open Inference Protocol by Triton's own client, and against the protocol's own schemas."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import yaml
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException

from .conftest import Running

DOCUMENT = yaml.safe_load((Path(__file__).parent / "open_inference_protocol.yaml").read_text())
INFER = "/v2/models/sum/infer"
TENSORS: list[dict[str, Any]] = [
    {"name": "a", "shape": [2], "datatype": "INT64", "data": [1, 2]},
    {"name": "b", "shape": [2], "datatype": "FP64", "data": [0.5, 0.25]},
    {"name": "word", "shape": [2], "datatype": "BYTES", "data": ["x", "zwölf"]},
]


def validate(value: Any, name: str) -> None:
    schema = {**DOCUMENT, "$ref": f"#/components/schemas/{name}"}
    jsonschema.Draft202012Validator(schema).validate(value)


@pytest.fixture
def client(server: Running) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        yield client


def tensor(name: str, values: Any, datatype: str, *, binary: bool) -> Any:
    array = np.array(values)
    made = triton.InferInput(name, list(array.shape), datatype)
    return made.set_data_from_numpy(array, binary_data=binary)


def inputs(*, binary: bool) -> list[Any]:
    words = np.array(["x", "zwölf"], dtype=object)
    return [
        tensor("a", np.array([1, 2], dtype=np.int64), "INT64", binary=binary),
        tensor("b", np.array([[0.5], [0.25]]), "FP64", binary=binary),
        tensor("word", words, "BYTES", binary=binary),
    ]


def test_tritons_client_finds_the_server_and_its_model(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("sum")
    assert client.is_model_ready("sum", "3")
    assert not client.is_model_ready("sum", "4")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("sum")
    assert metadata["inputs"][2] == {"name": "word", "datatype": "BYTES", "shape": [-1]}


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("got", [True, False, None])
def test_tritons_client_in_bytes_and_in_json(client: Any, sent: bool, got: bool | None) -> None:
    wanted = None if got is None else [triton.InferRequestedOutput("prediction", binary_data=got)]
    result = client.infer("sum", inputs(binary=sent), outputs=wanted, request_id="42")
    assert result.get_response()["id"] == "42"
    assert result.as_numpy("prediction").tolist() == [1.5, 2.25]
    assert result.as_numpy("prediction").dtype == np.float64
    if got is None:
        assert result.as_numpy("probability").tolist() == [[0.25, 0.75], [0.25, 0.75]]
    else:
        assert result.as_numpy("probability") is None


def test_tritons_client_is_told_what_is_wrong(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="missing b, word"):
        client.infer("sum", inputs(binary=True)[:1])
    with pytest.raises(InferenceServerException, match="there is no /v2/models/other"):
        client.infer("other", inputs(binary=True))


@pytest.mark.parametrize(
    ("datatype", "data", "value"),
    [
        ("INT8", struct.pack("<b", -1), -1),
        ("INT16", struct.pack("<h", -2), -2),
        ("INT32", struct.pack("<i", -3), -3),
        ("INT64", struct.pack("<q", -(2**62)), -(2**62)),
        ("UINT8", struct.pack("<B", 255), 255),
        ("UINT16", struct.pack("<H", 65535), 65535),
        ("UINT32", struct.pack("<I", 2**32 - 1), 2**32 - 1),
        ("UINT64", struct.pack("<Q", 2**62), 2**62),
        ("FP16", struct.pack("<e", 2.0), 2),
        ("BF16", struct.pack("<f", -3.0)[2:], -3),
        ("FP32", struct.pack("<f", 4.0), 4),
        ("FP64", struct.pack("<d", 5.0), 5),
    ],
)
def test_every_numeric_type_in_bytes(server: Running, datatype: str, data: bytes, value: int) -> None:
    changed = {"name": "a", "shape": [1], "datatype": datatype, "parameters": {"binary_data_size": len(data)}}
    answer = binary(server, one_row(changed), data)
    assert answer.status == 200, answer.body
    assert answer.json["outputs"][0]["data"] == [value + 0.5]


def one_row(changed: dict[str, Any]) -> dict[str, Any]:
    others = [{**tensor, "shape": [1], "data": tensor["data"][:1]} for tensor in TENSORS]
    return {"inputs": [changed if tensor["name"] == changed["name"] else tensor for tensor in others]}


def binary(server: Running, body: Any, data: bytes, **headers: str) -> Any:
    head = json.dumps(body).encode()
    given = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    return server.request("POST", INFER, head + data, given | headers)


@pytest.mark.parametrize(
    ("name", "datatype", "size", "data", "status", "text"),
    [
        ("a", "INT64", 8, b"1234567", 400, "only 7 bytes are left"),
        ("a", "INT64", 4, b"1234", 400, "takes 8 bytes, not 4"),
        ("a", "INT64", 8, b"123456789", 400, "last 1 bytes of the body belong to no tensor"),
        ("a", "INT64", -8, b"", 400, "binary_data_size"),
        ("a", "INT64", 2**80, b"", 400, "bytes are left"),
        ("a", "FP64", 8, struct.pack("<d", 1.5), 422, "row 0, field 'a': expected an integer (INT64), found 1.5"),
        ("b", "FP64", 8, struct.pack("<d", float("nan")), 422, "row 0, field 'b': expected a number (FP64), found nan"),
        ("b", "FP32", 4, struct.pack("<f", float("inf")), 422, "found inf"),
        ("a", "BOOL", 1, b"\x02", 422, "a byte of 0 or 1"),
        ("word", "BYTES", 5, b"\x01\x00\x00\x00\xff", 422, "row 0, field 'word': expected text in UTF-8"),
        ("word", "BYTES", 5, b"\x09\x00\x00\x00x", 400, "are no 1 texts"),
        ("word", "BYTES", 3, b"\x00\x00\x00", 400, "are no 1 texts"),
        ("word", "BYTES", 0, b"", 400, "are no 1 texts"),
    ],
)
def test_wrong_bytes_are_named(
    server: Running, name: str, datatype: str, size: int, data: bytes, status: int, text: str
) -> None:
    changed = {"name": name, "shape": [1], "datatype": datatype, "parameters": {"binary_data_size": size}}
    answer = binary(server, one_row(changed), data)
    assert (answer.status, text in answer.json["error"]) == (status, True), answer.body
    validate(answer.json, "inference_error_response")


@pytest.mark.parametrize("size", [10**18, 10**4200])
def test_a_huge_size_is_refused_and_not_repeated(server: Running, size: int) -> None:
    for shape, parameters in (
        ([size, size], {}),
        ([size], {"binary_data_size": 8}),
        ([1], {"binary_data_size": size}),
    ):
        changed = {"name": "a", "shape": shape, "datatype": "INT64", "parameters": parameters}
        answer = binary(server, one_row({**changed, **({} if parameters else {"data": [1]})}), b"12345678")
        assert answer.status == 400, answer.body
        assert len(answer.body) < 300


@pytest.mark.parametrize("length", ["", "-1", "x", "9" * 30, "1e3", "99999", "²"])
def test_a_wrong_length_of_the_json_is_refused(server: Running, length: str) -> None:
    head = {"inference-header-content-length": length.encode().decode("latin-1")}
    assert server.request("POST", INFER, b"{}", head).status == 400


@pytest.mark.parametrize(
    ("changed", "status", "text"),
    [
        ({"name": "a", "shape": [1], "datatype": "UINT8", "data": [300]}, 422, "from 0 to 255 (UINT8), found 300"),
        ({"name": "a", "shape": [1], "datatype": "BF17", "data": [3]}, 400, "BF16"),
        ({"name": "c", "shape": [1], "datatype": "INT64", "data": [3]}, 400, "there is no input"),
        ({"name": "a", "shape": [0], "datatype": "INT64", "data": []}, 400, "sizes from 1 to 2147483648"),
        ({"name": "a", "shape": [2**31 + 1], "datatype": "INT64", "data": [1]}, 400, "sizes from 1 to"),
        ({"name": "a", "shape": [1] + [2**31] * 15, "datatype": "INT64", "data": [1]}, 400, "shape a list of 16 holds"),
        ({"name": "a", "shape": [1, 2], "datatype": "INT64", "data": [[1], [2]]}, 400, "not nested"),
        ({"name": "a", "shape": [1], "datatype": "INT64", "data": [1], "parameters": 3}, 400, "no object"),
        ({"name": "a", "shape": [1], "datatype": "INT64", "data": 1}, 400, "no list"),
    ],
)
def test_wrong_tensors_are_named(server: Running, changed: dict[str, Any], status: int, text: str) -> None:
    body = one_row({**changed, "name": "a"})
    body["inputs"][0] = changed
    answer = server.post(INFER, body)
    assert (answer.status, text in answer.json["error"]) == (status, True), answer.body


@pytest.mark.parametrize(
    ("others", "text"),
    [
        ({"outputs": [{"name": "nothing"}]}, '"nothing" is none of prediction, probability'),
        ({"outputs": [{"name": "prediction"}, {"name": "prediction"}]}, "asked for twice"),
        ({"outputs": [{"name": "prediction", "parameters": {"binary_data": 1}}]}, "neither true nor false"),
        ({"parameters": {"binary_data_output": "yes"}}, "neither true nor false"),
        ({"id": 42}, "id: expected text"),
        ({"outputs": [{"name": "prediction", "parameters": {"classification": 3}}]}, "no extension 'classification'"),
    ],
)
def test_wrong_wishes_are_named(server: Running, others: dict[str, Any], text: str) -> None:
    answer = server.post(INFER, {"inputs": TENSORS, **others})
    assert (answer.status, text in answer.json["error"]) == (400, True), answer.body


def test_answers_are_what_the_protocols_document_says(server: Running) -> None:
    request = {"id": "7", "inputs": TENSORS, "outputs": [{"name": "probability"}]}
    validate(request, "inference_request")
    answer = server.post(INFER, request).json
    validate(answer, "inference_response")
    assert (answer["id"], [output["name"] for output in answer["outputs"]]) == ("7", ["probability"])
    validate(server.post(INFER, {"inputs": TENSORS}).json, "inference_response")
    for path in ("/v2", "/v2/"):
        validate(server.get(path).json, "metadata_server_response")
    for path in ("/v2/models/sum", "/v2/models/sum/versions/3"):
        validate(server.get(path).json, "metadata_model_response")
    for path in ("/v2/models/other", "/v2/models/sum/versions/4"):
        validate(server.get(path).json, "metadata_model_error_response")
    wrong = server.post(INFER, {})
    assert wrong.status == 400
    validate(wrong.json, "inference_error_response")
    with pytest.raises(jsonschema.ValidationError):
        validate({"model_name": "sum"}, "inference_response")


def test_a_missing_answer_is_nan_in_bytes_and_null_in_json(server: Running) -> None:
    words = one_row({"name": "word", "shape": [1], "datatype": "BYTES", "data": ["nan"]})
    assert server.post(INFER, words).json["outputs"][0]["data"] == [None]
    answer = server.post(INFER, {**words, "parameters": {"binary_data_output": True}})
    length = int(answer.headers["inference-header-content-length"])
    outputs = json.loads(answer.body[:length])["outputs"]
    assert [output["parameters"]["binary_data_size"] for output in outputs] == [8, 16]
    prediction, *probability = struct.unpack("<3d", answer.body[length:])
    assert (prediction != prediction, probability) == (True, [0.25, 0.75])
