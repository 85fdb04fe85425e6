"""The log's own side of the server, without the server."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from modelyard.serving import prediction_log
from modelyard.serving.board import Board
from modelyard.serving.log_folder import LogFolder
from modelyard.serving.messages import Request
from modelyard.serving.model import Model
from modelyard.serving.prediction_log import PredictionLog, Settings, settings_of
from modelyard.serving.signature import Signature

FIELD = {"name": "x", "datatype": "FP64", "shape": [-1]}
SIGNATURE = Signature.from_json({"kind": "columns", "inputs": [FIELD], "outputs": [FIELD | {"name": "y"}]})
MODEL = Model("m", "7", "1", "sha256:0", {}, SIGNATURE, {"x": [1.0]})
REQUEST = Request("POST", "/predict", "", {}, b"", "id")


def logging(folder: Path, work: Callable[[PredictionLog], Coroutine[Any, Any, None]], **settings: Any) -> list[str]:
    """Run ``work`` with a log; return what it has told."""
    told: list[str] = []

    async def run() -> None:
        log = PredictionLog(Settings(folder=str(folder), **settings), MODEL, told.append, Board())
        try:
            await work(log)
        finally:
            await log.close()

    asyncio.run(run())
    return told


def lines(folder: Path) -> list[dict[str, Any]]:
    data = [gzip.decompress(path.read_bytes()) for path in sorted(folder.glob("predictions.*.jsonl.gz"))]
    return [json.loads(line) for line in b"".join(data).splitlines()]


def sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def metric(log: PredictionLog, name: str) -> int:
    (line,) = [one for one in log.metrics() if one.startswith(f"modelyard_prediction_log_{name}")]
    return int(line.rpartition(" ")[2])


def test_a_line_has_all_that_is_promised(tmp_path: Path) -> None:
    async def work(log: PredictionLog) -> None:
        log.note(REQUEST, {"x": [1.0, float("nan")]}, 2, {"y": [3, None]}, 0.0012345)

    logging(tmp_path, work)
    (line,) = lines(tmp_path)
    assert line.pop("time") > 1.7e9
    assert line == {
        "request_id": "id",
        "version": "7",
        "route": "/predict",
        "rows": 2,
        "microseconds": 1234,
        "inputs": {"x": [1.0, None]},
        "outputs": {"y": [3, None]},
    }


@pytest.mark.parametrize("value", [object(), "\ud800", iter([1])])
def test_what_is_no_json_costs_its_own_line_and_no_other(tmp_path: Path, value: object) -> None:
    async def work(log: PredictionLog) -> None:
        for one in (1.0, value, 2.0):
            log.note(REQUEST, {"x": [1.0]}, 1, {"y": [one]}, 0.001)
        assert metric(log, 'dropped_total{kind="predictions"}') == 1

    logging(tmp_path, work)
    assert [line["outputs"]["y"] for line in lines(tmp_path)] == [[1.0], [2.0]]


def test_a_disk_that_hangs_fills_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "_MOST_BYTES", 1000)
    goes_on, write = threading.Event(), LogFolder.write

    def hanging(self: LogFolder, *arguments: Any) -> bool:
        goes_on.wait(20)
        return write(self, *arguments)

    monkeypatch.setattr(LogFolder, "write", hanging)

    async def work(log: PredictionLog) -> None:
        log.note(REQUEST, {"x": [0.0]}, 1, {"y": [0.0]}, 0.001)
        await asyncio.sleep(0.4)  # that one is being written
        for number in range(1, 100):
            log.note(REQUEST, {"x": [float(number)]}, 1, {"y": [0.0]}, 0.001)
        dropped = metric(log, 'dropped_total{kind="predictions"}')
        goes_on.set()
        assert 80 < dropped < 100

    logging(tmp_path, work)
    kept = [line["inputs"]["x"][0] for line in lines(tmp_path)]
    assert kept == [float(number) for number in range(len(kept))]


def test_a_batch_is_written_within_a_moment_and_the_segment_closed_in_its_time(tmp_path: Path) -> None:
    async def work(log: PredictionLog) -> None:
        log.note(REQUEST, {"x": [1.0]}, 1, {"y": [1.0]}, 0.001)
        await asyncio.sleep(0.6)
        ((name, size),) = sizes(tmp_path).items()
        assert name.endswith(".open")
        assert size
        await asyncio.sleep(1.2)
        assert len(lines(tmp_path)) == 1

    logging(tmp_path, work, seconds=1)


def test_a_segment_of_many_records_is_closed_before_its_time(tmp_path: Path) -> None:
    text = iter(range(10**9))

    async def work(log: PredictionLog) -> None:
        for _ in range(6):
            for _ in range(400):
                noise = [hash((next(text), "noise")) / 7 for _ in range(250)]
                log.note(REQUEST, {"x": noise}, 250, {"y": []}, 0.001)
            await asyncio.sleep(0.5)
        assert any(name.endswith(".jsonl.gz") for name in sizes(tmp_path))

    logging(tmp_path, work, seconds=3600)
    assert len(lines(tmp_path)) == 2400


def test_the_bound_is_of_all_processes_together(tmp_path: Path) -> None:
    board = Board(4)
    writers = []
    for number in range(4):
        board.become(number)
        writers.append(LogFolder(tmp_path, "1", 1_000_000, 60, lambda _: None, board.take(2)))
    kept = [writer.write("predictions", b"{}\n", 1) for writer in writers]
    assert all(kept), "each has looked how full the folder is"
    for _ in range(60):
        kept += [writer.write("predictions", os.urandom(10_000).hex().encode() + b"\n", 1) for writer in writers]
    assert 900_000 < sum(sizes(tmp_path).values()) <= 1_000_000
    assert 80 < sum(kept) < 120, "what had no room is told"


def test_a_writer_that_was_killed_in_the_middle_takes_no_room(tmp_path: Path) -> None:
    board = Board(2)
    words = board.take(2)
    words.mine[0] = 990_000
    writer = LogFolder(tmp_path, "1", 1_000_000, 60, lambda _: None, words)
    assert writer.write("predictions", os.urandom(20_000).hex().encode() + b"\n", 1)


def test_nothing_said_is_no_log() -> None:
    assert settings_of({}, MODEL) is None
    assert settings_of({"MODELYARD_PREDICTION_LOG": ""}, MODEL) is None
