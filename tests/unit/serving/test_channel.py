from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine

import pytest

from modelyard.serving.channel import Channel


def talk(scenario: Callable[[Channel, socket.socket], Coroutine[None, None, None]]) -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.setblocking(False)
            await scenario(await Channel.over(ours), theirs)

    asyncio.run(run())


async def ask(channel: Channel, frame: bytes, seconds: float | None) -> bytes:
    told: asyncio.Future[bytes | Exception] = asyncio.get_running_loop().create_future()
    channel.ask(frame, seconds, told.set_result)
    if isinstance(answer := await told, Exception):
        raise answer
    return answer


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_an_answer_comes_back_whole_in_whatever_pieces(size: int) -> None:
    async def scenario(channel: Channel, theirs: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(2):
            asked = asyncio.create_task(ask(channel, b"x" * size, 5))
            got = b""
            while len(got) < 4 + size:
                got += await loop.sock_recv(theirs, 1 << 20)
            assert got == size.to_bytes(4, "big") + b"x" * size
            for part in (got[:2], got[2:5], got[5:]):
                await loop.sock_sendall(theirs, part)
                await asyncio.sleep(0.01)
            assert await asked == b"x" * size

    talk(scenario)


def test_an_end_that_closes_is_told_to_whoever_waits_and_to_whoever_comes() -> None:
    async def scenario(channel: Channel, theirs: socket.socket) -> None:
        asked = asyncio.create_task(ask(channel, b"x", None))
        await asyncio.sleep(0.01)
        theirs.shutdown(socket.SHUT_RDWR)
        with pytest.raises(ConnectionError):
            await asked
        with pytest.raises(ConnectionError):
            await ask(channel, b"x", None)

    talk(scenario)


def test_an_answer_that_does_not_come_in_time_is_given_up() -> None:
    async def scenario(channel: Channel, theirs: socket.socket) -> None:
        with pytest.raises(TimeoutError):
            await ask(channel, b"x", 0.05)

    talk(scenario)
