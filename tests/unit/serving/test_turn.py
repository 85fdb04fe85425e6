from __future__ import annotations

import asyncio

import pytest

from modelyard.serving.messages import Columns, Outputs, Refused, Wanted
from modelyard.serving.turn import Turn


class Doubler:
    """A model that doubles; ``calls`` are the rows of each call, ``wanted`` its outputs."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.wanted: list[Wanted] = []

    def __call__(self, columns: Columns, rows: int, wanted: Wanted) -> Outputs:
        self.calls.append(columns["x"])
        self.wanted.append(wanted)
        assert rows == len(columns["x"])
        if -1 in columns["x"]:
            raise Refused(422, "no negative numbers")
        if -2 in columns["x"]:
            raise ZeroDivisionError
        return {"y": [2 * value for value in columns["x"]]}


async def ask(turn: Turn, *requests: list[int]) -> list[Outputs | BaseException]:
    """Ask in the same turn of the loop."""
    return await asyncio.gather(*(turn.predict({"x": one}, len(one), None) for one in requests), return_exceptions=True)


def test_who_asks_alone_is_answered_before_the_loop_turns() -> None:
    async def alone() -> None:
        turn = Turn(Doubler(), 100)
        for number in range(3):
            asking = turn.predict({"x": [number]}, 1, None)
            with pytest.raises(StopIteration) as answered:
                asking.send(None)
            assert answered.value.value == {"y": [2 * number]}
            await asyncio.sleep(0)

    asyncio.run(alone())


def test_what_a_turn_brings_is_one_call_and_everyone_gets_the_own_rows() -> None:
    model = Doubler()

    async def together() -> None:
        turn = Turn(model, 100)
        first = await ask(turn, [1], [2, 3], [4])
        assert first == [{"y": [2]}, {"y": [4, 6]}, {"y": [8]}]
        assert model.calls == [[1], [2, 3, 4]]  # the first did not know of the others
        assert await ask(turn, [5], [6, 7]) == [{"y": [10]}, {"y": [12, 14]}]
        assert model.calls[2:] == [[5, 6, 7]]

    asyncio.run(together())


def test_a_call_has_no_more_rows_than_it_may() -> None:
    model = Doubler()

    async def together() -> None:
        turn = Turn(model, 3)
        await ask(turn, [0], [0])
        model.calls.clear()
        await ask(turn, [1, 2], [3], [4, 5, 6], [7])

    asyncio.run(together())
    assert model.calls == [[1, 2, 3], [4, 5, 6], [7]]


def test_what_the_model_refuses_is_refused_to_its_sender_alone() -> None:
    async def together() -> None:
        turn = Turn(Doubler(), 100)
        await ask(turn, [0], [0])
        good, bad, other = await ask(turn, [1], [-1], [2])
        assert (good, other) == ({"y": [2]}, {"y": [4]})
        assert isinstance(bad, Refused)

    asyncio.run(together())


def test_a_mistake_is_raised_to_everybody_and_nobody_waits_for_ever() -> None:
    async def together() -> None:
        turn = Turn(Doubler(), 100)
        await ask(turn, [0], [0])
        found = await asyncio.wait_for(ask(turn, [1], [-2]), 5)
        assert [type(one) for one in found] == [ZeroDivisionError, ZeroDivisionError]

    asyncio.run(together())


def test_who_has_gone_away_does_not_keep_the_others_from_their_answers() -> None:
    async def together() -> None:
        turn = Turn(Doubler(), 100)
        await ask(turn, [0], [0])
        tasks = [asyncio.create_task(turn.predict({"x": [number]}, 1, None)) for number in (1, 2)]
        asyncio.get_running_loop().call_soon(tasks[0].cancel)
        assert await tasks[1] == {"y": [4]}

    asyncio.run(together())


def test_outputs_that_nobody_wants_are_not_asked_for() -> None:
    model = Doubler()

    async def turns() -> None:
        turn = Turn(model, 100)
        for several in [("y",), ("y",), ("y",)], [("y",), None], [("y",), ("z",)]:
            await asyncio.gather(*(turn.predict({"x": [1]}, 1, wanted) for wanted in several))
            await asyncio.sleep(0)

    asyncio.run(turns())
    assert model.wanted == [("y",), ("y",), None, None]
