from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.deployment import service_log
from modelyard.deployment.service_log import ServiceLog


def test_the_log_is_bounded_and_keeps_the_newest_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_log, "_MOST_BYTES", 1000)
    path = tmp_path / "service.log"
    log = ServiceLog(path)
    for number in range(500):
        log.write(f"line {number}\n".encode())
    log.say("the end")
    files = sorted(tmp_path.iterdir())
    assert files == [path, tmp_path / "service.log.1"]
    assert all(file.stat().st_size <= 1000 for file in files)
    lines = (files[1].read_text() + files[0].read_text()).splitlines()
    assert lines[-1].endswith("supervisor: the end")
    first = int(lines[0].split()[1])
    assert lines[:-1] == [f"line {number}" for number in range(first, 500)]


def test_it_goes_on_where_an_earlier_one_ended(tmp_path: Path) -> None:
    path = tmp_path / "service.log"
    ServiceLog(path).write(b"one\n")
    ServiceLog(path).write(b"two\n")
    assert path.read_text() == "one\ntwo\n"
