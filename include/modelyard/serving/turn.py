"""Requests that arrive together are answered together: one call of a compiled model for all that a turn has brought.

A turn is one round of the event loop, in which it takes up whatever its sockets have. A call costs about as much for
ten rows as for one, and nobody waits for more to come: who asks alone is answered at once, as if this were not here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from modelyard.serving.batching import Item, merged, share_out
from modelyard.serving.messages import Columns, Outputs, Refused, Wanted


class Turn:
    """What the current turn has brought.

    Args:
        answer: the model: columns, their number of rows and which outputs are wanted in, outputs out; raises Refused.
        most_rows: in one call; a request must not have more.
    """

    def __init__(self, answer: Callable[[Columns, int, Wanted], Outputs], most_rows: int) -> None:
        self._answer = answer
        self._most_rows = most_rows
        self._items: list[Item] = []
        self._asked = 0
        self._crowded = False  # several asked in the last turn: so will they in this one
        self._loop = asyncio.get_running_loop()

    async def predict(self, columns: Columns, rows: int, wanted: Wanted) -> Outputs:
        """Answer checked columns; raises Refused: what the model cannot answer."""
        if not self._asked:
            self._loop.call_soon(self._over)
        self._asked += 1
        if self._asked == 1 and not self._crowded:
            return self._answer(columns, rows, wanted)
        item = Item(columns, rows, wanted, self._loop.create_future())
        self._items.append(item)
        return await item.answer

    def _over(self) -> None:
        items, self._items = self._items, []
        self._crowded, self._asked = self._asked > 1, 0
        batch: list[Item] = []
        rows = 0
        for item in items:
            if batch and rows + item.rows > self._most_rows:
                self._settle(batch, rows)
                batch, rows = [], 0
            batch.append(item)
            rows += item.rows
        if batch:
            self._settle(batch, rows)

    def _settle(self, batch: list[Item], rows: int) -> None:
        columns, wanted = merged(batch)
        try:
            outputs = self._answer(columns, rows, wanted)
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
            if len(batch) > 1 and isinstance(error, Refused):
                for item in batch:  # one of them is to blame: the others must not pay for it
                    self._settle([item], item.rows)
                return
            for item in batch:
                if not item.answer.done():
                    item.answer.set_exception(error)
            return
        share_out(outputs, batch)
