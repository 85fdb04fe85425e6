"""What a service's front container runs: ``python -I -c SOURCE COMMAND …``. Nothing but the server's own environment.

``forward`` holds the service's port and passes each connection on to the server that is serving. The other commands
are given by ``docker exec``: they change, one at a time, the state in the front's volume, which is the truth of what
is live; each prints the state as it is then, or ``{"newer": GENERATION}`` when a newer deployment has it in hand.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import http.client
import json
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

JSON = dict[str, Any]

PORT = 8080
FOLDER = Path("/tmp")  # noqa: S108 - the container's own volume
STATE = FOLDER / "state.json"

_BEGINNING: JSON = {"in_hand": 0, "serving": None, "live": None}
_CHUNK = 1 << 16
_BACKLOG = 1024
_HELD_SECONDS = 30.0  # a connection waits so long for a server that is being started again
_ANSWER_SECONDS = 30.0


def question(generation: str) -> Path:
    """Return the file with what the server of a generation is asked."""
    return FOLDER / f"question-{generation}.json"


def read() -> JSON:
    """Return the state."""
    return dict(json.loads(STATE.read_text())) if STATE.exists() else dict(_BEGINNING)


def take(state: JSON, generation: int) -> JSON:
    """Have a deployment in hand; what an older one has begun serves no more."""
    live = state["live"]
    return state | {"in_hand": generation, "serving": None if live is None else live["host"]}


def serve(state: JSON, _generation: int, host: str) -> JSON:
    """Have new connections go to a server; "" for none."""
    return state | {"serving": host or None}


def live(state: JSON, generation: int, release: str) -> JSON:
    """Write down a release as proven: what others were asked is of no use any more."""
    for path in set(FOLDER.glob(question("*").name)) - {question(str(generation))}:
        path.unlink()
    return state | {"live": json.loads(release)}


_CHANGES: dict[str, Callable[..., JSON]] = {"take": take, "serve": serve, "live": live}


def change(command: str, generation: str, *arguments: str) -> JSON:
    """Change the state by a command of a deployment, unless a newer one has it in hand."""
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state, ours = read(), int(generation)
        if state["in_hand"] > ours or (state["in_hand"] < ours and command != "take"):
            return {"newer": state["in_hand"]}
        state = _CHANGES[command](state, ours, *arguments)
        written = STATE.with_suffix(".new")
        written.write_text(json.dumps(state))
        written.replace(STATE)
        return state


def ask(generation: str, host: str) -> JSON:
    """Return a server's answer to a generation's question, or why there is none, or that a newer one is in hand."""
    if (in_hand := read()["in_hand"]) > int(generation):
        return {"newer": in_hand}
    asked = json.loads(question(generation).read_text())
    connection = http.client.HTTPConnection(host, PORT, timeout=_ANSWER_SECONDS)
    try:
        body = None if asked["body"] is None else json.dumps(asked["body"])
        connection.request(asked["method"], asked["path"], body, asked["headers"])
        answer = connection.getresponse()
        content = base64.b64encode(answer.read()).decode()
    except (OSError, http.client.HTTPException) as error:
        return {"away": str(error) or type(error).__name__}
    return {"status": answer.status, "headers": dict(answer.headers), "body": content}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.write_eof()


async def _server() -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    """Connect to the server that is serving; one that is away for a moment is waited for."""
    deadline = time.monotonic() + _HELD_SECONDS
    while time.monotonic() < deadline:
        host = read()["serving"]  # each time: another one may be serving by now
        if host is not None:
            with suppress(OSError):
                return await asyncio.open_connection(host, PORT)
        await asyncio.sleep(0.1)
    return None


async def _connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        server = await _server()
        if server is not None:
            from_server, to_server = server
            upwards = asyncio.create_task(_pump(reader, to_server))
            try:
                await _pump(from_server, writer)  # when the server has ended a connection, nobody asks on it any more
            finally:
                upwards.cancel()
                to_server.close()
    finally:
        writer.close()


async def _forward() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    listening = await asyncio.start_server(_connected, "0.0.0.0", PORT, backlog=_BACKLOG)  # noqa: S104
    await stop.wait()
    listening.close()


def main(command: str, *arguments: str) -> None:
    """Run a command."""
    if command == "forward":
        import uvloop

        uvloop.run(_forward())
    else:
        told = ask(*arguments) if command == "ask" else read() if command == "show" else change(command, *arguments)
        print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
