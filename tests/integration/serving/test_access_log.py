"""The access log's reader may be slow or gone: no request waits for it."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

from tests.image_roots import make_root

from .conftest import Running, Start

_LONG = "/" + "x" * 8000


def ask(running: Running, count: int, path: str) -> None:
    """Ask so many times, and read all answers."""
    with running.connect() as connection:
        for _ in range(count // 100):
            connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode() * 100)
            answers = b""
            while answers.count(b"HTTP/1.1 ") < 100:
                data = connection.recv(1 << 20)
                assert data, answers
                answers += data


def dropped(running: Running) -> int:
    found = re.search(
        r"^modelyard_access_log_dropped_total (\d+)$", running.get("/metrics").body.decode(), re.MULTILINE
    )
    assert found is not None
    return int(found[1])


def read_lines(output: int) -> list[str]:
    with os.fdopen(output) as stream:
        return [json.loads(line)["path"] for line in stream if line.endswith("\n")]


def test_nobody_reads_it(start: Start, tmp_path: Path) -> None:
    output, end = os.pipe()
    running = start(make_root(tmp_path / "root"), output=end)
    os.close(end)
    ask(running, 2000, _LONG)
    assert running.get("/healthz").status == 200
    lost = dropped(running)
    assert 0 < lost < 1500
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(20) == 0
    assert _LONG in set(read_lines(output)) <= {"/readyz", _LONG}


def test_its_reader_is_slow(start: Start, tmp_path: Path) -> None:
    output, end = os.pipe()
    running = start(make_root(tmp_path / "root"), output=end)
    os.close(end)
    ask(running, 300, _LONG)
    ask(running, 300, "/nothing")
    running.process.send_signal(signal.SIGTERM)
    lines = read_lines(output)
    assert (lines.count(_LONG), lines.count("/nothing")) == (300, 300), "nothing is lost"
    assert running.process.wait(20) == 0


def test_its_reader_goes(start: Start, tmp_path: Path) -> None:
    output, end = os.pipe()
    running = start(make_root(tmp_path / "root"), output=end)
    os.close(end)
    os.close(output)
    ask(running, 200, "/nothing")
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(20) == 0
