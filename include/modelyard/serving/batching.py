"""Batching without delay: an idle worker starts at once; what arrives while it works goes together into the next call.

Nobody waits for a batch to fill, so a lone request is as quick as without batching.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import chain

from modelyard.serving.limits import Limits
from modelyard.serving.messages import Columns, Outputs, Refused
from modelyard.serving.metrics import Metrics

_MOST_ROWS = 1024  # in one call that merges several requests; a single larger request goes alone
_MOST_WAITING = 1024  # requests; beyond that a client is told to come back

Ask = Callable[[Columns, int], Awaitable[Outputs]]


@dataclass(slots=True, eq=False)
class _Item:
    columns: Columns
    rows: int
    answer: asyncio.Future[Outputs]
    alone: bool = False  # it was being answered when a worker ended, and may be to blame


class Batcher:
    """A bounded queue that any number of workers empty, each with a ``serve`` of its own."""

    def __init__(self, metrics: Metrics | None = None, answer_seconds: float = Limits.answer_seconds) -> None:
        self._metrics = metrics
        self._answer_seconds = answer_seconds
        self._waiting: deque[_Item] = deque()
        self._arrived = asyncio.Event()

    async def predict(self, columns: Columns, rows: int) -> Outputs:
        """Wait for the answer to checked columns.

        Raises:
            Refused: 429 when too many wait already; 503 when no answer comes in time; what ``ask`` raised for them.
        """
        if len(self._waiting) >= _MOST_WAITING:
            raise busy(self._metrics)
        loop = asyncio.get_running_loop()
        item = _Item(columns, rows, loop.create_future())
        limit = loop.call_later(self._answer_seconds, self._give_up, item)
        self._waiting.append(item)
        self._note_waiting()
        self._arrived.set()
        try:
            return await item.answer
        finally:
            limit.cancel()

    def refuse(self, reason: Refused) -> None:
        """Answer everything that waits with ``reason``: there is nobody to take it up."""
        while self._waiting:
            _settle(self._waiting.popleft(), reason)

    async def serve(self, ask: Ask, ended: type[Exception]) -> None:
        """Take requests and have ``ask`` answer them, until cancelled or until it raises anything but Refused.

        What it could not answer because it ``ended`` waits for the next one, and is then asked alone; the second time
        it is refused: a request that ends every worker shall not end them all.
        """
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            batch = self._take()
            self._note_waiting()
            if not batch:
                continue
            if self._metrics is not None:
                self._metrics.batch(sum(item.rows for item in batch))
            try:
                await self._answer(batch, ask)
            except BaseException as error:
                again = [item for item in batch if isinstance(error, ended) and not item.alone]
                for item in reversed(again):
                    item.alone = True
                    self._waiting.appendleft(item)
                self._arrived.set()
                gone = Refused(503, "the model's process ended while it answered", headers=(("retry-after", "1"),))
                for item in batch:
                    if item not in again:
                        _settle(item, gone)
                raise

    def _give_up(self, item: _Item) -> None:
        _settle(item, late(self._answer_seconds))

    def _note_waiting(self) -> None:
        if self._metrics is not None:
            self._metrics.queued(len(self._waiting))

    def _take(self) -> list[_Item]:
        batch: list[_Item] = []
        rows = 0
        while self._waiting and (not batch or rows + self._waiting[0].rows <= _MOST_ROWS):
            if self._waiting[0].alone and batch:
                break
            item = self._waiting.popleft()
            if not item.answer.done():  # a client that went away has cancelled it
                batch.append(item)
                rows += item.rows
                if item.alone:
                    break
        return batch

    async def _answer(self, batch: list[_Item], ask: Ask) -> None:
        merged = batch[0].columns if len(batch) == 1 else merge([item.columns for item in batch])
        try:
            outputs = await ask(merged, sum(item.rows for item in batch))
        except Refused as refused:
            if len(batch) == 1:
                _settle(batch[0], refused)
                return
            for item in batch:  # one of them is to blame: the others must not pay for it
                await self._answer([item], ask)
            return
        start = 0
        for item in batch:
            part = outputs
            if len(batch) > 1:
                part = {name: values[start : start + item.rows] for name, values in outputs.items()}
            _settle(item, part)
            start += item.rows


def busy(metrics: Metrics | None) -> Refused:
    """Return the refusal of a request for which there is no room in the queue: 429, to be asked again."""
    if metrics is not None:
        metrics.refused_busy()
    return Refused(429, "too many requests are waiting for the model", headers=(("retry-after", "1"),))


def late(seconds: float) -> Refused:
    """Return the refusal of a request that the model has not answered in time."""
    return Refused(503, f"the model has not answered in {seconds:g} s", headers=(("retry-after", "1"),))


def merge(requests: list[Columns]) -> Columns:
    """Return the rows of all requests, one after the other."""
    return {name: list(chain.from_iterable([columns[name] for columns in requests])) for name in requests[0]}


def _settle(item: _Item, result: Outputs | Refused) -> None:
    if item.answer.done():
        return
    if isinstance(result, Refused):
        item.answer.set_exception(result)
    else:
        item.answer.set_result(result)
