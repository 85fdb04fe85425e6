"""Whatever is sent to any route, nobody gets a 5xx: the whole application, without the network."""

from __future__ import annotations

import asyncio
import io
import json
import math
import os
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from modelyard.monitoring.segments import Feedback
from modelyard.serving.access_log import AccessLog
from modelyard.serving.application import Application
from modelyard.serving.messages import Columns, Outputs, Request, Response, Wanted
from modelyard.serving.model import Model
from modelyard.serving.prediction_log import PredictionLog
from modelyard.serving.signature import Signature

FIELDS: list[dict[str, Any]] = [
    {"name": "a", "datatype": "INT64", "shape": [-1]},
    {"name": "b", "datatype": "FP32", "shape": [-1], "nullable": True},
    {"name": "word", "datatype": "BYTES", "shape": [-1], "categories": ["x", "y"]},
    {"name": "at", "datatype": "BYTES", "shape": [-1], "dtype": "datetime64[ns]", "nullable": True},
    {"name": "flag", "datatype": "BOOL", "shape": [-1]},
    {"name": "vector", "datatype": "FP64", "shape": [-1, 2]},
]
ROW = {"a": 1, "b": 2.0, "word": "x", "at": None, "flag": True, "vector": [1.0, 2.0]}
TENSOR = {"name": "input", "datatype": "FP64", "shape": [-1, -1]}


class Checked:
    """Answers its own input, after it has looked whether all of it would reach a model unchanged."""

    ready = True
    restarts = 0

    async def predict(self, columns: Columns, rows: int, _wanted: Wanted) -> Outputs:
        assert json.loads(json.dumps(columns, allow_nan=False)) == columns
        assert all(len(values) == rows for values in columns.values())
        return columns


class Kept(PredictionLog):
    """Keeps nothing, after it has looked whether all of it could be read back."""

    def __init__(self) -> None:
        pass

    def note(self, request: Request, inputs: Columns, rows: int, outputs: Outputs, seconds: float) -> None:
        """Look at an answer."""

    async def keep(self, feedback: list[dict[str, Any]]) -> bool:
        for record in msgspec.json.decode(msgspec.json.encode(feedback)):
            assert Feedback.from_json({"time": 0, "version": "1", **record})
            assert record.get("request_id") or record.get("entity")
        return True


def application(kind: str, fields: list[dict[str, Any]], golden: Columns) -> Application:
    signature = Signature.from_json({"kind": kind, "inputs": fields, "outputs": fields})
    model = Model("m", "1", "1", "sha256:0", {"golden": {}}, signature, golden)
    return Application(model, Checked(), AccessLog(io.BytesIO(), "1"), {}, predictions=Kept())


APPLICATIONS = {
    "columns": application("columns", FIELDS, {name: [value] for name, value in ROW.items()}),
    "tensor": application("tensor", [TENSOR], {"input": [[1.0, 2.0]]}),
}
TRUTHS = ["/feedback", "/events.json"]
# All that take anything; with a version they are the same.
ROUTES = [
    path
    for method, path in APPLICATIONS["columns"]._routes
    if method == "POST" and path not in TRUTHS and "/versions/" not in path
]


def post(kind: str, path: str, body: bytes, headers: dict[str, str]) -> Response:
    request = Request("POST", path, "", headers, body, "id")
    response = asyncio.run(APPLICATIONS[kind].answer(request))
    assert response.status < 500, (path, body, response.body)
    text = response.body.decode("utf-8", "replace")
    assert "Traceback" not in text
    assert all(value.isprintable() for _, value in response.headers)
    if response.status >= 400:
        assert json.loads(text)["message" if path == "/events.json" else "error"]
    return response


ODD = st.sampled_from(["a", "word", "x", "", "\ud800", "\x00", "2026-01-01", "NaN", 2**63, 2**64, 1e300, -0.0, 3.0])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | ODD
_WORDS = """rows instances inputs outputs dataframe_split dataframe_records columns data index id input_data
signature_name name shape datatype parameters binary_data_size binary_data binary_data_output b64 input"""
NAMES = st.sampled_from([*_WORDS.split(), *ROW])
VALUES = st.recursive(
    SCALARS | st.sampled_from(["FP64", "BYTES", "BF16", "BOOL"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=4), inner, max_size=5),
    max_leaves=30,
)
ROWS = st.lists(
    st.fixed_dictionaries({name: st.just(value) | SCALARS for name, value in ROW.items()}) | VALUES, max_size=3
)
TENSORS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from([*ROW, "input"]),
            "shape": st.lists(st.integers(-1, 4), max_size=3) | st.just([1]) | VALUES,
            "datatype": st.sampled_from(["INT64", "FP32", "FP64", "BYTES", "BOOL", "BF16", "UINT8"]) | VALUES,
        },
        optional={
            "data": st.lists(SCALARS, max_size=4) | VALUES,
            "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 40) | VALUES}) | VALUES,
        },
    ),
    max_size=7,
)
BODIES = (
    VALUES
    | ROWS
    | st.builds(lambda rows, name: {name: rows}, ROWS, NAMES)
    | st.builds(
        lambda tensors, others: {**others, "inputs": tensors}, TENSORS, st.dictionaries(NAMES, VALUES, max_size=3)
    )
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "content-type": st.sampled_from(
            [
                "application/json",
                "text/csv",
                "text/csv; header=present",
                "application/octet-stream",
                "x; charset=ä",
                ";",
            ]
        )
        | st.text(max_size=9),
        "accept": st.sampled_from(["*/*", "text/csv", "text/html", ""]) | st.text(max_size=9),
        "inference-header-content-length": st.integers(-1, 400).map(str) | st.text(max_size=5),
        "x-amzn-sagemaker-custom-attributes": st.text(max_size=5),
        "x-ms-client-request-id": st.text(max_size=5),
        "content-encoding": st.sampled_from(["gzip", "identity", ""]),
    },
)
RECORDS = st.fixed_dictionaries(
    {"truth": VALUES | st.just(1) | st.fixed_dictionaries({}, optional={name: st.just(ROW[name]) for name in ROW})},
    optional={
        **{name: st.text(max_size=3) | VALUES for name in ("request_id", "entity")},
        "row": SCALARS,
        "time": ODD | st.datetimes().map(str),
    },
)
EVENTS = st.fixed_dictionaries(
    {name: st.sampled_from(["rate", "$set", "$unset", "pio_x", ""]) | SCALARS for name in ("event", "entityId")},
    optional={
        **{name: st.just("user") | VALUES for name in ("entityType", "targetEntityType", "targetEntityId", "prId")},
        "properties": st.dictionaries(st.sampled_from([*ROW, "pio_a", "b"]), VALUES, max_size=3) | VALUES,
        "eventTime": ODD | st.datetimes().map(str),
        "tags": VALUES,
    },
)
# Others each time; four times as many with `make test-faults`.
_EXAMPLES = 400 if "MODELYARD_FAULTS" in os.environ else 100
thorough = settings(max_examples=_EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("path", TRUTHS)
@pytest.mark.parametrize("kind", list(APPLICATIONS))
@thorough
@given(body=RECORDS | st.lists(RECORDS, max_size=3) | EVENTS | VALUES, headers=HEADERS)
@example(body={"entity": "x", "truth": ROW}, headers={})
@example(body={"event": "rate", "entityType": "user", "entityId": 7, "properties": ROW}, headers={})
def test_any_truth_is_kept_or_refused(kind: str, path: str, body: Any, headers: dict[str, str]) -> None:
    post(kind, path, json.dumps(body).encode(), headers)


@pytest.mark.parametrize("path", TRUTHS)
def test_a_truth_nested_as_deeply_as_json_may_be_is_no_mistake_of_ours(path: str) -> None:
    for depth in (900, 990, 995, 1000, 1020, 100_000):
        deep = b"[" * depth + b"]" * depth
        event = (
            b'{"entity": "x", "truth": '
            if path == "/feedback"
            else b'{"event": "e", "entityType": "t", "entityId": "i"'
        )
        body = event + deep + b"}" if path == "/feedback" else event + b', "properties": {"x": ' + deep + b"}}"
        post("columns", path, body, {})


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("kind", list(APPLICATIONS))
@thorough
@given(body=BODIES, headers=HEADERS, tail=st.binary(max_size=40), exact=st.booleans())
@example(body=[ROW], headers={}, tail=b"", exact=False)
def test_any_json_on_any_route(
    kind: str, path: str, body: Any, headers: dict[str, str], tail: bytes, exact: bool
) -> None:
    data = json.dumps(body).encode()
    if exact:
        headers = {**headers, "inference-header-content-length": str(len(data))}
    post(kind, path, data + tail if exact else data, headers)


@pytest.mark.parametrize("path", ROUTES)
@thorough
@given(body=st.binary(max_size=200), headers=HEADERS)
def test_any_bytes_on_any_route(path: str, body: bytes, headers: dict[str, str]) -> None:
    post("columns", path, body, headers)


LINES = st.lists(st.sampled_from([*ROW, "1", "2.5", "", "nan", "true", "x", '"', "1e999", "\x00", "é"]), max_size=7)


@pytest.mark.parametrize("kind", list(APPLICATIONS))
@thorough
@given(lines=st.lists(LINES, max_size=4), kind_of=st.sampled_from(["", "; header=present", "; header=absent"]))
def test_any_csv(kind: str, lines: list[list[str]], kind_of: str) -> None:
    body = "\n".join(map(",".join, lines)).encode()
    post(kind, "/invocations", body, {"content-type": f"text/csv{kind_of}"})


def _same(sent: Any, answered: Any) -> bool:
    if isinstance(sent, list):
        return len(sent) == len(answered) and all(map(_same, sent, answered))
    if sent is None or (isinstance(sent, float) and math.isnan(sent)):
        return answered is None
    return bool(sent == answered) and isinstance(sent, bool) == isinstance(answered, bool)


@pytest.mark.parametrize(
    ("path", "wrap"),
    [
        ("/predict", lambda rows: {"rows": rows}),
        ("/v1/models/m:predict", lambda rows: {"instances": rows}),
    ],
)
@thorough
@given(
    rows=st.lists(
        st.fixed_dictionaries({name: st.just(v) | SCALARS for name, v in ROW.items()}), min_size=1, max_size=3
    )
)
def test_what_is_answered_was_not_changed(path: str, wrap: Callable[[Any], Any], rows: list[dict[str, Any]]) -> None:
    response = post("columns", path, json.dumps(wrap(rows)).encode(), {})
    if response.status == 200:
        answered = json.loads(response.body)["predictions"]
        assert all(_same(row[name], back[name]) for row, back in zip(rows, answered, strict=True) for name in ROW)
