"""The real server with a real compiled model: scikit-learn's pipeline as ONNX, text and missing values in it."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.integration.serving.conftest import Running, Start
from tests.processes import wait_until


@pytest.fixture(scope="module")
def compiled(start: Start, compiled_root: Path) -> Running:
    return start(compiled_root)


def golden(root: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((root / "model" / "modelyard.json").read_bytes())
    kept: dict[str, Any] = facts["golden"]
    return kept


def test_it_answers_as_at_training_without_a_process_of_the_project(compiled: Running, compiled_root: Path) -> None:
    kept = golden(compiled_root)
    predictions = compiled.post("/predict", kept["inputs"]).json["predictions"]
    assert [one["prediction"] for one in predictions] == kept["outputs"]["prediction"]
    for one, probability in zip(predictions, kept["outputs"]["probability"], strict=True):
        assert one["probability"] == pytest.approx(probability, abs=1e-6)
    assert psutil.Process(compiled.process.pid).children() == []


def test_every_contract_gives_the_same(compiled: Running, compiled_root: Path) -> None:
    kept = golden(compiled_root)
    expected = kept["outputs"]["prediction"]
    assert compiled.post("/invocations", {"dataframe_records": kept["inputs"]}).json["predictions"] == expected
    instances = compiled.post("/v1/models/sum:predict", {"instances": kept["inputs"]}).json["predictions"]
    assert [one["prediction"] for one in instances] == expected
    metadata = compiled.get("/v2/models/sum").json
    tensors = [
        {
            "name": one["name"],
            "shape": [len(expected), 1],
            "datatype": one["datatype"],
            "data": [row[one["name"]] for row in kept["inputs"]],
        }
        for one in metadata["inputs"]
    ]
    outputs = compiled.post("/v2/models/sum/infer", {"inputs": tensors}).json["outputs"]
    assert outputs[0]["data"] == expected
    assert outputs[1]["shape"] == [len(expected), 2]


def test_many_rows_are_answered_beside_others(compiled: Running, compiled_root: Path) -> None:
    kept = golden(compiled_root)
    rows = kept["inputs"] * 2000
    predictions = compiled.post("/predict", rows).json["predictions"]
    assert [one["prediction"] for one in predictions] == kept["outputs"]["prediction"] * 2000


def test_a_missing_value_and_a_text_never_seen(compiled: Running, compiled_root: Path) -> None:
    row = golden(compiled_root)["inputs"][0]
    assert compiled.post("/predict", [{**row, "year": None}]).status == 200
    assert compiled.post("/predict", [{**row, "district": "nowhere"}]).status == 200
    assert compiled.post("/predict", [{**row, "area": 1e300}]).status == 422  # no number of 32 bits
    refused = compiled.post("/predict", [{**row, "rooms": "three"}])
    assert (refused.status, refused.json["problems"][0]["field"]) == (422, "rooms")


def test_a_compiled_model_that_cannot_be_loaded_is_told(start: Start, compiled_root: Path, tmp_path: Path) -> None:
    (tmp_path / "model" / "compiled").mkdir(parents=True)
    (tmp_path / "model" / "modelyard.json").write_bytes((compiled_root / "model" / "modelyard.json").read_bytes())
    (tmp_path / "model" / "compiled" / "model.onnx").write_bytes(b"no model")
    broken = start(tmp_path, ready=False)
    assert broken.process.wait(20) == 1
    assert "cannot start: onnxruntime cannot load compiled/model.onnx" in broken.log.read_text()


@pytest.fixture
def two(start: Start, compiled_root: Path, free_port: int) -> Iterator[Running]:
    """Two processes that take connections on one socket."""
    running = start(compiled_root, "--workers", "2", "--learning", "0.5", "--port", str(free_port))
    yield running
    running.process.terminate()
    assert running.process.wait(20) == 0, running.log.read_text()


def processes(running: Running) -> list[psutil.Process]:
    found = psutil.Process(running.process.pid).children()
    return [one for one in found if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def test_clients_are_shared_out_among_the_processes(two: Running) -> None:
    assert len(processes(two)) == 2
    with ExitStack() as stack:
        for _ in range(16):
            stack.enter_context(two.connect())

        def taken() -> list[int]:
            return [
                sum(one.status == psutil.CONN_ESTABLISHED for one in process.net_connections())
                for process in processes(two)
            ]

        wait_until(lambda: sum(taken()) >= 16, "every connection is taken", 20)
        assert min(taken()) >= 6, taken()


def counted(running: Running, name: str) -> float:
    (found,) = re.findall(rf"^{re.escape(name)} (\S+)$", running.get("/metrics").body.decode(), re.MULTILINE)
    return float(found)


def test_one_page_of_metrics_tells_of_all_processes(two: Running, compiled_root: Path) -> None:
    rows = golden(compiled_root)["inputs"][:2]
    for _ in range(40):
        assert two.post("/predict", rows).status == 200
    for _ in range(4):
        assert counted(two, 'modelyard_requests_total{route="/predict",status="200"}') == 40
        assert counted(two, "modelyard_rows_predicted_total") == 80
        assert counted(two, 'modelyard_batch_rows_bucket{le="2"}') == 40
        assert counted(two, "modelyard_processes") == 2
        assert counted(two, "modelyard_requests_in_flight") == 1, "this one"


def test_no_two_requests_have_one_id(two: Running, compiled_root: Path) -> None:
    ids = [two.post("/predict", golden(compiled_root)["inputs"][:1]).headers["x-request-id"] for _ in range(40)]
    assert len(set(ids)) == 40
    assert len({one.partition("-")[0] for one in ids}) == 2, "both have answered"


def test_a_process_that_is_killed_is_started_again_and_nobody_notices(two: Running, compiled_root: Path) -> None:
    rows = golden(compiled_root)["inputs"][:1]
    assert two.post("/predict", rows).status == 200
    before = processes(two)
    before[0].send_signal(signal.SIGKILL)
    before[0].wait(10)
    for _ in range(300):
        assert two.post("/predict", rows).status == 200
        assert two.get("/readyz").status == 200
    wait_until(lambda: len(processes(two)) == 2, "the other is there again", 20)
    assert before[0] not in processes(two)
    assert before[1] in processes(two)
    assert counted(two, "modelyard_worker_restarts_total") == 1
    assert counted(two, 'modelyard_requests_total{route="/predict",status="200"}') == 301, "what it counted is kept"
    assert re.search(r"process \d of the server was ended by signal 9; starting it again", two.log.read_text())


def test_all_processes_do_what_the_supervisor_says(start: Start, compiled_root: Path, tmp_path: Path) -> None:
    control = tmp_path / "control.sock"
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        port = listening.getsockname()[1]
        arguments = ("--workers", "2", "--control", str(control), "--fd", str(listening.fileno()))
        server = start(compiled_root, *arguments, ready=False, hand_on=listening)
        server.port = port

    def tell(method: str, path: str) -> bytes:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(20)
            asking.connect(str(control))
            asking.sendall(
                f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode()
            )
            return asking.recv(100).split(b" ")[1]

    def ready() -> bool:
        try:
            return tell("GET", "/readyz") == b"200"
        except OSError:
            return False

    wait_until(ready, "all are loaded", 20)
    with server.connect() as waiting:
        waiting.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        waiting.settimeout(0.3)
        with pytest.raises(TimeoutError):
            waiting.recv(1)
        assert tell("POST", "/control/accept") == b"200"
        waiting.settimeout(20)
        assert waiting.recv(100).startswith(b"HTTP/1.1 200")
    for _ in range(10):
        assert tell("POST", "/control/pause") == b"200"
        with server.connect() as waiting:
            waiting.settimeout(0.05)
            waiting.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            with pytest.raises(TimeoutError):
                waiting.recv(1)
            assert tell("POST", "/control/accept") == b"200"
            waiting.settimeout(20)
            assert waiting.recv(100).startswith(b"HTTP/1.1 200")
    server.process.terminate()
    assert server.process.wait(30) == 0


def test_a_request_that_has_begun_is_answered_as_all_end(two: Running, compiled_root: Path) -> None:
    body = json.dumps(golden(compiled_root)["inputs"][:1]).encode()
    head = f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with ExitStack() as stack:
        clients = [stack.enter_context(two.connect()) for _ in range(8)]
        for client in clients:
            client.sendall(head + body[:10])
        wait_until(lambda: counted(two, "modelyard_connections") >= 8, "all are taken", 20)
        two.process.terminate()
        for client in clients:
            client.sendall(body[10:])
            assert client.recv(100).startswith(b"HTTP/1.1 200")
    assert two.process.wait(20) == 0


def test_a_process_calls_nobody(start: Start, compiled_root: Path) -> None:
    """onnxruntime would report to its makers, by a thread of its own; no long body has needed another one yet."""
    server = psutil.Process(start(compiled_root).process.pid)
    assert [one for one in server.net_connections("inet") if one.raddr and one.raddr[0] != "127.0.0.1"] == []
    assert server.num_threads() <= 3, "the loop's, the access log's, and the one that has loaded the model"
