"""The model or the server ends, does not start, is late or answers nonsense: who asks is told, the next answered."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from tests.image_roots import make_root
from tests.processes import below

from modelyard.serving import keeper

from .conftest import FACTS, Running, Start

ROW = {"a": 1, "b": 2.0, "word": "x"}


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
