"""What the server keeps of 100,000 requests: no more than its metrics count."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.image_roots import make_root
from tests.processes import wait_until

from modelyard.monitoring.destination import Destination

from .conftest import FACTS, Running, Start, resident

Asked = tuple[bytes, bytes, bytes]  # path, method, body; a number of its own goes where there is %d


def ask(running: Running, requests: Sequence[Asked], number: int) -> None:
    """Send the ``number``th thousand of requests on one connection, many at once, and read all answers."""
    parts = []
    for each in range(1000):
        path, method, body = (
            part % (number * 1000 + each) if b"%d" in part else part for part in requests[each % len(requests)]
        )
        length = b"content-length: %d\r\nx-request-id: %d-%d\r\n" % (len(body), number, each)
        parts.append(b"%s %s HTTP/1.1\r\nhost: x\r\n%s\r\n%s" % (method, path, length, body))
    parts.append(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-request-id: last\r\nconnection: close\r\n\r\n")
    with running.connect() as connection:
        connection.settimeout(120)
        for begin in range(0, len(parts), 50):
            sent = parts[begin : begin + 50]
            connection.sendall(b"".join(sent))
            answers = b""
            while answers.count(b"HTTP/1.1 ") < len(sent):
                data = connection.recv(1 << 20)
                assert data, answers
                answers += data
            assert b"HTTP/1.1 5" not in answers


@pytest.mark.slow
def test_memory_does_not_grow(start: Start, tmp_path: Path) -> None:
    """Good and bad requests, and uploads that nobody ends."""
    running = start(make_root(tmp_path / "root"), environment=FACTS)
    wrong: list[Asked] = [
        (b"/healthz", b"GET", b""),
        (b"/predict", b"POST", b"[]"),
        (b"/predict", b"POST", b'[{"a": "wrong", "b": 2.0, "word": "x"}]'),
        (b"/v2/models/sum/infer", b"POST", b'{"inputs": [{"name": 1}]}'),
        (b"/nothing/%d", b"GET", b""),
        (b"/predict", b"PUT", b"\xff\xfe"),
    ]
    requests = [(b"/predict", b"POST", b'[{"a": 1, "b": 2.0, "word": "x"}]'), *wrong, *wrong[1:4]]
    for number in range(10):
        ask(running, requests, number)
    before = resident(running)
    for _ in range(10):
        with running.connect() as connection:  # and leave in the middle of an upload
            connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 16000000\r\n\r\n")
            connection.sendall(b" " * 15_000_000)
    # The allocator keeps what one upload took, and a half more, for the next.
    wait_until(lambda: resident(running) - before < 32, "what abandoned uploads have brought is freed", 10)
    ask(running, requests, 10)
    before = resident(running)
    for number in range(11, 111):
        ask(running, requests, number)
    grown = resident(running) - before
    print(f"resident after 11,000 requests: {before:.1f} MiB, after 111,000: {grown:+.2f} MiB")
    assert grown < 2


@pytest.mark.slow
def test_memory_does_not_grow_by_what_is_logged(start: Start, compiled_root: Path, tmp_path: Path) -> None:
    """Predictions and ground truth go to the log; a shipper takes its segments away all the while."""
    golden = json.loads((compiled_root / "model" / "modelyard.json").read_bytes())["golden"]
    rows, truth = golden["inputs"], {"prediction": golden["outputs"]["prediction"][0]}
    event = {"event": "sold", "entityType": "house", "entityId": "h1", "properties": truth}
    predicting = [(b"/predict", b"POST", json.dumps(rows[: each % 5 + 1]).encode()) for each in range(46)]
    requests: list[Asked] = [
        *predicting,
        (b"/feedback", b"POST", b'{"request_id": "r%d", "truth": ' + json.dumps(truth).encode() + b"}"),
        (b"/events.json", b"POST", json.dumps(event).encode()),
        (b"/feedback", b"POST", b'{"entity": "h%d"}'),
        (b"/predict", b"POST", b'[{"district": 1}]'),
    ]
    log, objects = tmp_path / "log", Destination((tmp_path / "objects").as_uri())
    settings = json.dumps({"folder": str(log), "seconds": 0.5})
    running = start(compiled_root, environment=FACTS | {"MODELYARD_PREDICTION_LOG": settings})
    command = [sys.executable, "-P", "-m", "modelyard", "predictions", "ship", str(log)]
    command += ["--prefix", "served/sum/production", "--parent", str(os.getpid())]
    shipper = subprocess.Popen(command, env={"PATH": os.environ["PATH"], **objects.to_environment()})
    try:
        for number in range(15):
            ask(running, requests, number)
        before = resident(running)
        for number in range(15, 115):
            ask(running, requests, number)
        grown = resident(running) - before
        print(f"resident after 15,000 requests: {before:.1f} MiB, after 115,000: {grown:+.2f} MiB")
        logged = {"predictions": 46 * 20 * 115, "feedback": 2 * 20 * 115}
        wait_until(lambda: counted(running, "shipped") == logged, "all of it is sent", 60)
    finally:
        shipper.kill()
        shipper.wait()
    assert counted(running, "dropped") == {"predictions": 0, "feedback": 0}
    assert not list(log.glob("*.jsonl*"))
    assert grown < 2


def counted(running: Running, what: str) -> dict[str, int]:
    """Return what the prediction log counts, by the kind of its records."""
    name = f"modelyard_prediction_log_{what}_total"
    lines = [line for line in running.get("/metrics").body.decode().splitlines() if line.startswith(f"{name}{{")]
    return {kind: int(value) for kind, value in (line.split('"')[1:] for line in lines) for value in [value.split()[1]]}
