"""The workers behind one queue, with ones that fail in every way."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from modelyard.serving.batching import Then
from modelyard.serving.messages import Columns, Refused, Wanted
from modelyard.serving.model import Model
from modelyard.serving.signature import Signature
from modelyard.serving.worker import Pool, Worker

FIELD = {"name": "x", "datatype": "FP64", "shape": [-1]}
SIGNATURE = Signature.from_json({"kind": "columns", "inputs": [FIELD], "outputs": [FIELD | {"name": "y"}]})
MODEL = Model("m", "7", "1", "sha256:0", {}, SIGNATURE, {"x": [1.0]})


class Fake:
    """A worker that raises, as it starts or as it answers, what it is given."""

    def __init__(self, at_start: Exception | None = None, at_answer: Exception | None = None) -> None:
        self._at_start, self._at_answer = at_start, at_answer

    async def start(self) -> None:
        if self._at_start is not None:
            raise self._at_start

    def ask(self, columns: Columns, _rows: int, _wanted: Wanted, then: Then) -> None:
        then({"y": columns["x"]} if self._at_answer is None else self._at_answer)

    async def stop(self) -> None:
        """Nothing runs."""


def test_a_mistake_of_ours_costs_one_worker_and_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workers = iter([Fake(at_answer=TypeError("a mistake")), Fake(at_start=KeyError("another")), Fake()])
    told: list[str] = []

    async def run() -> None:
        pool = Pool(Path("/nowhere"), MODEL, 1, told.append)
        monkeypatch.setattr(pool, "_worker", lambda: next(workers))
        await pool.start()
        with pytest.raises(Refused, match="ended while it answered"):
            await pool.predict({"x": [1.0]}, 1, None)
        assert (pool.ready, pool.restarts) == (False, 1)
        answer: Any = await asyncio.wait_for(pool.predict({"x": [2.0]}, 1, None), 10)
        assert answer == {"y": [2.0]}
        assert (pool.ready, pool.restarts) == (True, 1)
        await pool.stop()

    asyncio.run(run())
    assert told == [
        "the server made a mistake with the model's process (TypeError('a mistake')); starting it again",
        "the server made a mistake with the model's process (KeyError('another')); trying again in 0.5 s",
    ]
    assert "Traceback" in capsys.readouterr().err


def test_a_mistake_as_an_answer_is_read_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Echo:
        def ask(self, frame: bytes, _seconds: float, then: Any) -> None:
            then(frame)

    worker, told = Worker(Path("/nowhere"), MODEL, 1, 5), list[Any]()
    monkeypatch.setattr(worker, "_channel", Echo(), raising=False)
    monkeypatch.setattr(worker, "_answers", None)
    worker.ask({"x": [1.0]}, 1, None, told.append)
    assert [type(error) for error in told] == [AttributeError]
