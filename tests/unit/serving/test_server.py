"""Time limits, in the test's own process, where they can be short."""

from __future__ import annotations

import asyncio
import io
import socket

import pytest

from modelyard.serving import server as module
from modelyard.serving.access_log import AccessLog
from modelyard.serving.application import Application
from modelyard.serving.board import Board
from modelyard.serving.messages import Columns, Outputs, Wanted
from modelyard.serving.model import Model
from modelyard.serving.server import Server
from modelyard.serving.signature import Signature


class Echo:
    """Answers its own input."""

    ready = True
    waiting = 0
    restarts = 0

    async def predict(self, columns: Columns, rows: int, _wanted: Wanted) -> Outputs:
        return columns


def make_server() -> Server:
    field = {"name": "x", "datatype": "INT64", "shape": [-1]}
    signature = Signature.from_json({"kind": "columns", "inputs": [field], "outputs": [field]})
    model = Model("echo", "1", "1", "sha256:0", {}, signature, {"x": [1]})
    return Server(Application(model, Echo(), AccessLog(io.BytesIO(), "1")), model.headers, Board())


async def exchange(listening: socket.socket, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionResetError:
        return b"reset"
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("limit", "data", "answer"),
    [
        (
            "_REST",
            b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf",
            b"HTTP/1.1 408 Request Timeout",
        ),
        ("_REST", b"GET / HT", b"HTTP/1.1 408 Request Timeout"),
        ("_IDLE", b"", b""),
        ("_IDLE", b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", b"HTTP/1.1 200 OK"),
    ],
)
def test_connections_that_wait_too_long_end(
    monkeypatch: pytest.MonkeyPatch, limit: str, data: bytes, answer: bytes
) -> None:
    monkeypatch.setattr(module, limit, 0.0)

    async def scenario() -> None:
        server = make_server()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            await server.accept(listening)
            found = await exchange(listening, data)
            assert found == b"reset" or found.startswith(answer)
            assert found != b"reset" or answer == b""
            await server.pause()

    asyncio.run(scenario())


@pytest.mark.parametrize(("piece", "status"), [(50, b"200"), (1, b"408")])
def test_a_long_upload_is_let_go_on_while_it_is_no_trickle(
    monkeypatch: pytest.MonkeyPatch, piece: int, status: bytes
) -> None:
    monkeypatch.setattr(module, "_REST", 1.0)
    monkeypatch.setattr(module, "_LEAST_RATE", 100)
    row = b'[{"x": 1}]'

    async def scenario() -> None:
        server = make_server()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            await server.accept(listening)
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            writer.write(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (40 * piece + len(row)))
            answer = asyncio.create_task(reader.readline())
            for _ in range(40):
                writer.write(b" " * piece)
                await asyncio.wait({answer}, timeout=0.1)
                if answer.done():
                    break
            writer.write(row)
            assert (await asyncio.wait_for(answer, 10)).split()[1] == status
            writer.close()
            await server.pause()

    asyncio.run(scenario())


def test_drain_waits_for_idle_connections_and_then_ends_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE_DRAINING", 0.5)

    async def scenario() -> None:
        server = make_server()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            await server.accept(listening)
            _, writer = await asyncio.open_connection(*listening.getsockname())
            await asyncio.sleep(0.1)
            draining = asyncio.create_task(server.drain(accepting_for=0))
            await asyncio.sleep(0.3)
            assert not draining.done()
            await asyncio.wait_for(draining, 5)
            writer.close()

    asyncio.run(scenario())
