from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from modelyard.serving import batching
from modelyard.serving.batching import Ask, Batcher, Then
from modelyard.serving.messages import Columns, Outputs, Refused, Wanted


@asynccontextmanager
async def serving(batcher: Batcher, ask: Ask) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(batcher.serve(ask, ConnectionResetError))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Doubler:
    """A model that doubles; ``calls`` are the rows of each call, and the first call lasts until ``released``."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.wanted: list[Wanted] = []
        self.released = asyncio.Event()
        self._answering: asyncio.Task[None]

    def __call__(self, columns: Columns, rows: int, wanted: Wanted, then: Then) -> None:
        self.calls.append(columns["x"])
        self.wanted.append(wanted)
        assert rows == len(columns["x"])
        self._answering = asyncio.create_task(self._answer(columns["x"], then))

    async def _answer(self, values: list[int], then: Then) -> None:
        await self.released.wait()
        then(Refused(422, "no negative numbers") if -1 in values else {"y": [2 * value for value in values]})


async def asking(batcher: Batcher, *columns: list[int]) -> list[asyncio.Task[Outputs]]:
    """Ask for several at the same time, and return when all are in the queue."""
    tasks = [asyncio.create_task(batcher.predict({"x": column}, len(column))) for column in columns]
    await asyncio.sleep(0)
    return tasks


def test_the_first_goes_at_once_and_what_arrives_meanwhile_together() -> None:
    async def scenario() -> None:
        batcher, ask = Batcher(), Doubler()
        async with serving(batcher, ask):
            answers = await asking(batcher, [1])
            answers += await asking(batcher, [2, 2], [3, 3])
            ask.released.set()
            assert list(await asyncio.gather(*answers)) == [{"y": [2]}, {"y": [4, 4]}, {"y": [6, 6]}]
        assert ask.calls == [[1], [2, 2, 3, 3]]

    asyncio.run(scenario())


def test_one_that_the_model_refuses_does_not_harm_its_neighbors() -> None:
    async def scenario() -> None:
        batcher, ask = Batcher(), Doubler()
        async with serving(batcher, ask):
            answers = await asking(batcher, [0])
            answers += await asking(batcher, [5], [-1])
            ask.released.set()
            results = list(await asyncio.gather(*answers, return_exceptions=True))
        assert results[:2] == [{"y": [0]}, {"y": [10]}]
        assert isinstance(results[2], Refused)
        assert results[2].status == 422

    asyncio.run(scenario())


def test_a_client_that_went_away_costs_nothing() -> None:
    async def scenario() -> None:
        batcher, ask = Batcher(), Doubler()
        async with serving(batcher, ask):
            first = await asking(batcher, [1])
            gone, last = await asking(batcher, [2], [3])
            gone.cancel()
            await asyncio.sleep(0)
            ask.released.set()
            assert list(await asyncio.gather(*first, last)) == [{"y": [2]}, {"y": [6]}]
        assert ask.calls == [[1], [3]]

    asyncio.run(scenario())


def test_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_MOST_WAITING", 2)

    async def scenario() -> None:
        batcher = Batcher()
        waiting = await asking(batcher, [0], [1], [2])
        with pytest.raises(Refused) as refused:
            await waiting[2]
        assert refused.value.status == 429
        assert dict(refused.value.headers) == {"retry-after": "1"}
        batcher.refuse(Refused(503, "nobody is there"))
        assert all(isinstance(r, Refused) for r in await asyncio.gather(*waiting, return_exceptions=True))

    asyncio.run(scenario())


def test_a_batch_is_bounded_but_a_large_request_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_MOST_ROWS", 3)

    async def scenario() -> None:
        batcher, ask = Batcher(), Doubler()
        answers = await asking(batcher, *([n] * n for n in (1, 2, 2, 5)))
        ask.released.set()
        async with serving(batcher, ask):
            await asyncio.gather(*answers)
        assert [len(call) for call in ask.calls] == [3, 2, 5]

    asyncio.run(scenario())


def test_what_ended_a_worker_is_asked_once_more_and_alone() -> None:
    async def scenario() -> None:
        calls: list[list[int]] = []

        def ask(columns: Columns, rows: int, _wanted: Wanted, then: Then) -> None:
            calls.append([int(value) for value in columns["x"]])
            then(ConnectionResetError() if 13 in columns["x"] else {"y": [2] * rows})

        batcher = Batcher()
        answers = await asking(batcher, [1], [13], [2])
        for _ in range(2):  # workers, one after the other
            async with serving(batcher, ask) as task:
                with pytest.raises(ConnectionResetError):
                    await task
        async with serving(batcher, ask):
            first, guilty, last = await asyncio.gather(*answers, return_exceptions=True)
        assert first == last == {"y": [2]}
        assert isinstance(guilty, Refused)
        assert "ended while it answered" in guilty.message
        assert calls == [[1, 13, 2], [1], [13], [2]]

    asyncio.run(scenario())


def test_a_worker_that_is_cancelled_leaves_nobody_waiting() -> None:
    async def scenario() -> None:
        batcher, ask = Batcher(), Doubler()
        async with serving(batcher, ask):
            (answer,) = await asking(batcher, [1])
            await asyncio.sleep(0)
        with pytest.raises(Refused):
            await answer

    asyncio.run(scenario())


def test_a_call_for_several_gives_what_each_of_them_wants() -> None:
    async def scenario() -> None:
        batcher, ask = Batcher(), Doubler()
        async with serving(batcher, ask):
            answers = await asking(batcher, [1])
            wanted: list[Wanted] = [("y",), ("y",), None, ("y",)]
            for numbers in (wanted[:2], wanted[2:]):
                waiting = [asyncio.create_task(batcher.predict({"x": [2]}, 1, one)) for one in numbers]
                await asyncio.sleep(0)
                ask.released.set()
                await asyncio.gather(*answers, *waiting)
        assert ask.calls == [[1], [2, 2], [2, 2]]
        assert ask.wanted == [None, ("y",), None]

    asyncio.run(scenario())


def test_a_mistake_of_the_worker_ends_it_and_leaves_nobody_waiting() -> None:
    async def scenario() -> None:
        def ask(_columns: Columns, _rows: int, _wanted: Wanted, _then: Then) -> None:
            raise ZeroDivisionError

        batcher = Batcher()
        async with serving(batcher, ask) as task:
            (answer,) = await asking(batcher, [1])
            with pytest.raises(ZeroDivisionError):
                await task
            with pytest.raises(Refused):
                await answer

    asyncio.run(scenario())
