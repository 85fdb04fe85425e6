from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from modelyard.serving import batching
from modelyard.serving.batching import Batcher
from modelyard.serving.messages import Columns, Outputs, Refused

Ask = Callable[[Columns, int], Awaitable[Outputs]]


@asynccontextmanager
async def serving(batcher: Batcher, ask: Ask) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(batcher.serve(ask))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Doubler:
    """A model that doubles, slow enough that requests meet; ``calls`` are the rows of each call."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    async def __call__(self, columns: Columns, rows: int) -> Outputs:
        self.calls.append(columns["x"])
        assert rows == len(columns["x"])
        await asyncio.sleep(0.01)
        if -1 in columns["x"]:
            raise Refused(422, "no negative numbers")
        return {"y": [2 * value for value in columns["x"]]}


def test_the_first_goes_at_once_and_what_arrives_meanwhile_together() -> None:
    async def scenario() -> None:
        batcher, ask = Batcher(), Doubler()
        async with serving(batcher, ask):
            answers = [asyncio.create_task(batcher.predict({"x": [1]}, 1))]
            await asyncio.sleep(0.001)
            answers += [asyncio.create_task(batcher.predict({"x": [n, n]}, 2)) for n in (2, 3)]
            assert list(await asyncio.gather(*answers)) == [{"y": [2]}, {"y": [4, 4]}, {"y": [6, 6]}]
        assert ask.calls == [[1], [2, 2, 3, 3]]

    asyncio.run(scenario())


def test_one_that_the_model_refuses_does_not_harm_its_neighbors() -> None:
    async def scenario() -> None:
        batcher = Batcher()
        async with serving(batcher, Doubler()):
            first = asyncio.create_task(batcher.predict({"x": [0]}, 1))
            await asyncio.sleep(0.001)
            good, bad = (asyncio.create_task(batcher.predict({"x": [n]}, 1)) for n in (5, -1))
            results = list(await asyncio.gather(first, good, bad, return_exceptions=True))
        assert results[:2] == [{"y": [0]}, {"y": [10]}]
        assert isinstance(results[2], Refused)
        assert results[2].status == 422

    asyncio.run(scenario())


def test_a_client_that_went_away_costs_nothing() -> None:
    async def scenario() -> None:
        batcher, ask = Batcher(), Doubler()
        async with serving(batcher, ask):
            first = asyncio.create_task(batcher.predict({"x": [1]}, 1))
            await asyncio.sleep(0.001)
            gone = asyncio.create_task(batcher.predict({"x": [2]}, 1))
            await asyncio.sleep(0.001)
            gone.cancel()
            last = asyncio.create_task(batcher.predict({"x": [3]}, 1))
            assert list(await asyncio.gather(first, last)) == [{"y": [2]}, {"y": [6]}]
        assert ask.calls == [[1], [3]]

    asyncio.run(scenario())


def test_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_MOST_WAITING", 2)

    async def scenario() -> None:
        batcher = Batcher()
        waiting = [asyncio.create_task(batcher.predict({"x": [n]}, 1)) for n in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Refused) as refused:
            await waiting[2]
        assert refused.value.status == 503
        assert dict(refused.value.headers) == {"retry-after": "1"}
        batcher.refuse(Refused(503, "nobody is there"))
        assert all(isinstance(r, Refused) for r in await asyncio.gather(*waiting, return_exceptions=True))

    asyncio.run(scenario())


def test_a_batch_is_bounded_but_a_large_request_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_MOST_ROWS", 3)

    async def scenario() -> None:
        batcher, ask = Batcher(), Doubler()
        sizes = (1, 2, 2, 5)
        answers = [asyncio.create_task(batcher.predict({"x": [n] * n}, n)) for n in sizes]
        await asyncio.sleep(0)
        async with serving(batcher, ask):
            await asyncio.gather(*answers)
        assert [len(call) for call in ask.calls] == [3, 2, 5]

    asyncio.run(scenario())


def test_a_worker_that_ends_leaves_nobody_waiting() -> None:
    async def scenario() -> None:
        async def ends(_columns: Columns, _rows: int) -> Outputs:
            raise ConnectionResetError

        batcher = Batcher()
        async with serving(batcher, ends) as task:
            with pytest.raises(Refused) as refused:
                await batcher.predict({"x": [1]}, 1)
            assert refused.value.status == 503
            with pytest.raises(ConnectionResetError):
                await task

    asyncio.run(scenario())
