"""Batching without delay: an idle worker starts at once; what arrives while it works goes together into the next call.

Nobody waits for a batch to fill, so a lone request is as quick as without batching.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import NoReturn

from modelyard.serving.limits import Limits
from modelyard.serving.messages import Columns, Outputs, Refused, Wanted
from modelyard.serving.metrics import Metrics

_MOST_ROWS = 1024  # in one call that merges several requests; a single larger request goes alone
_MOST_WAITING = 1024  # requests; beyond that a client is told to come back

Then = Callable[[Outputs | Exception], None]
# Has a worker answer so many rows of columns by the wanted outputs; what comes of it is told once, by a call.
Ask = Callable[[Columns, int, Wanted, Then], None]


@dataclass(slots=True, eq=False)
class Item:
    """A request that waits for its answer, maybe as a part of a call for several."""

    columns: Columns
    rows: int
    wanted: Wanted
    answer: asyncio.Future[Outputs]
    alone: bool = False  # it was part of a call that went wrong, and may be to blame
    suspect: bool = False  # a worker ended over that call


@dataclass(slots=True, eq=False)
class _Lane:
    """A worker: what it is being asked, and the future that gets the error it ends with."""

    ask: Ask
    ended: asyncio.Future[NoReturn]
    batch: list[Item]


class Batcher:
    """A bounded queue that any number of workers empty, each with a ``serve`` of its own."""

    def __init__(self, metrics: Metrics | None = None, answer_seconds: float = Limits.answer_seconds) -> None:
        self._metrics = metrics
        self._answer_seconds = answer_seconds
        self._waiting: deque[Item] = deque()
        self._idle: list[_Lane] = []
        self._crowded = False  # several went into the last call: so they will into the next, if it waits for this turn

    async def predict(self, columns: Columns, rows: int, wanted: Wanted = None) -> Outputs:
        """Wait for the answer to checked columns: the wanted outputs (None: all), or more.

        Raises:
            Refused: 429 when too many wait already; 503 when no answer comes in time; what a worker said of them.
        """
        if len(self._waiting) >= _MOST_WAITING:
            raise busy(self._metrics)
        loop = asyncio.get_running_loop()
        item = Item(columns, rows, wanted, loop.create_future())
        limit = loop.call_later(self._answer_seconds, self._give_up, item)
        self._waiting.append(item)
        if not self._crowded:
            self._begin()
        elif len(self._waiting) == 1:
            loop.call_soon(self._begin)
        try:
            return await item.answer
        finally:
            limit.cancel()

    def refuse(self, reason: Refused) -> None:
        """Answer everything that waits with ``reason``: there is nobody to take it up."""
        while self._waiting:
            _settle(self._waiting.popleft(), reason)

    async def serve(self, ask: Ask, ended: type[Exception]) -> NoReturn:
        """Take requests and have ``ask`` answer them, until cancelled or until it tells anything but Refused.

        What it could not answer because it ``ended`` waits for the next one, and is then asked alone; the second time
        it is refused: a request that ends every worker shall not end them all.

        Raises:
            Exception: what it told.
        """
        lane = _Lane(ask, asyncio.get_running_loop().create_future(), [])
        self._idle.append(lane)
        self._begin()
        try:
            await lane.ended
        except BaseException as error:
            batch, lane.batch = lane.batch, []
            again = [item for item in batch if isinstance(error, ended) and not item.suspect]
            for item in reversed(again):
                item.alone = item.suspect = True
                self._waiting.appendleft(item)
            gone = Refused(503, "the model's process ended while it answered", headers=(("retry-after", "1"),))
            for item in batch:
                if item not in again:
                    _settle(item, gone)
            if lane in self._idle:
                self._idle.remove(lane)
            self._begin()
            raise

    def _begin(self) -> None:
        """Have idle workers take up what waits, here and now: a task that is woken up for that would come later."""
        while self._idle and (batch := self._take()):
            lane, rows = self._idle.pop(), sum(item.rows for item in batch)
            if self._metrics is not None:
                self._metrics.batch(rows)
            lane.batch, self._crowded = batch, len(batch) > 1
            columns, wanted = merged(batch)
            try:
                lane.ask(columns, rows, wanted, partial(self._told, lane))
            except Exception as error:  # noqa: BLE001 - a mistake of ours is told where the worker is looked after
                self._told(lane, error)
        if self._metrics is not None:
            self._metrics.queued(len(self._waiting))

    def _told(self, lane: _Lane, result: Outputs | Exception) -> None:
        """Pass on what a worker says of its batch, and have it take up the next."""
        if lane.ended.done():
            return
        batch = lane.batch
        if isinstance(result, Refused):
            if len(batch) == 1:
                _settle(batch[0], result)
            else:
                for item in reversed(batch):  # one of them is to blame: the others must not pay for it
                    item.alone = True
                    self._waiting.appendleft(item)
        elif isinstance(result, Exception):
            lane.ended.set_exception(result)
            return
        else:
            share_out(result, batch)
        lane.batch = []
        self._idle.append(lane)
        self._begin()

    def _give_up(self, item: Item) -> None:
        _settle(item, late(self._answer_seconds))

    def _take(self) -> list[Item]:
        batch: list[Item] = []
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


def busy(metrics: Metrics | None) -> Refused:
    """Return the refusal of a request for which there is no room in the queue: 429, to be asked again."""
    if metrics is not None:
        metrics.refused_busy()
    return Refused(429, "too many requests are waiting for the model", headers=(("retry-after", "1"),))


def late(seconds: float) -> Refused:
    """Return the refusal of a request that the model has not answered in time."""
    return Refused(503, f"the model has not answered in {seconds:g} s", headers=(("retry-after", "1"),))


def merged(batch: list[Item]) -> tuple[Columns, Wanted]:
    """Return the rows of all requests, one after the other, and the outputs that all of them want.

    That is None, all outputs, when they do not want the same.
    """
    first = batch[0]
    if len(batch) == 1:
        return first.columns, first.wanted
    columns = {name: list(chain.from_iterable([item.columns[name] for item in batch])) for name in first.columns}
    return columns, first.wanted if all(item.wanted == first.wanted for item in batch) else None


def share_out(outputs: Outputs, batch: list[Item]) -> None:
    """Give each request of a call its own rows of the answer; who has gone away gets none."""
    start = 0
    for item in batch:
        part = outputs
        if len(batch) > 1:
            part = {name: values[start : start + item.rows] for name, values in outputs.items()}
        _settle(item, part)
        start += item.rows


def _settle(item: Item, result: Outputs | Refused) -> None:
    if item.answer.done():
        return
    if isinstance(result, Refused):
        item.answer.set_exception(result)
    else:
        item.answer.set_result(result)
