"""``python -m modelyard.deployment.supervisor FOLDER``: the process that keeps one local service alive.

It holds the listening socket for as long as the service is up, so that no connection is ever refused while servers come
and go. It leaves the process that started it, and its servers end when it does. Standard library only.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from modelyard.credential_places import credential_places
from modelyard.deployment.conversation import SOCKET
from modelyard.deployment.port import NoPortError, listen
from modelyard.deployment.server_process import ServerError
from modelyard.deployment.service import OlderError, Service, cancelled
from modelyard.deployment.service_log import ServiceLog
from modelyard.deployment.shipper_process import ShipperProcess
from modelyard.deployment.state import Release, State, read_state, write_state
from modelyard.deployment.target import JSON

LOCK, LOG = "lock", "service.log"


class _Commands:
    """Answers at the supervisor's own socket."""

    def __init__(self, service: Service, stop: asyncio.Event, log: ServiceLog) -> None:
        self._service = service
        self._stop = stop
        self._log = log
        self._deploying: set[asyncio.Task[JSON]] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one question. Who asked may go away meanwhile: what was begun is brought to its end."""

        def say(line: JSON) -> None:
            if not writer.is_closing():
                writer.write(json.dumps(line).encode() + b"\n")

        try:
            question = json.loads(await reader.readline())
            if question["command"] == "deploy":
                deploying = asyncio.create_task(self._deploy(question, lambda text: say({"log": text})))
                self._deploying.add(deploying)
                deploying.add_done_callback(self._deploying.discard)
                say(await deploying)
            elif question["command"] == "status":
                say({"status": self._service.status})
            elif question["command"] == "stop":
                self._stop.set()
        except Exception:
            self._log.say(traceback.format_exc())
            raise
        finally:
            writer.close()

    async def give_up(self) -> None:
        """End what is being deployed; the version that it would have replaced stays the live one."""
        await cancelled(self._deploying)

    async def _deploy(self, question: JSON, log: Callable[[str], None]) -> JSON:
        try:
            await self._service.deploy(Release(**question["release"]), question["golden"], log)
        except ServerError as error:
            self._log.say(str(error))
            return {"failed": str(error)}
        except OlderError as error:
            return {"older": str(error)}
        return {"done": self._service.status}


async def _supervise(service: Service, log: ServiceLog, ready: Callable[[], None]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    commands = _Commands(service, stop, log)
    # A question holds the golden rows: as many as the model's author chose.
    listening = await asyncio.start_unix_server(commands.answer, SOCKET, limit=1 << 28)
    starting = asyncio.create_task(service.start())
    ready()
    await stop.wait()
    log.say("stopping")
    listening.close()
    await commands.give_up()
    await cancelled([starting])
    await service.end()


def main(folder: Path, ready: Callable[[], None]) -> None:
    """Supervise the service in ``folder`` until told to stop; return at once when another process does.

    Args:
        folder: ``…/deployments/ENVIRONMENT/MODEL``.
        ready: called when the supervisor can be talked to.

    Raises:
        NoPortError: there is no port for it.
    """
    folder = folder.resolve()
    os.chdir(folder)
    lock = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o600)  # never closed: it is free when this process is gone
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        ready()
        return
    for left in Path().glob("*.sock"):
        left.unlink()
    log = ServiceLog(Path(LOG))
    before = read_state(Path())
    home = folder.parents[2]
    with listen(home, before.port if before else None) as listening:
        state = State(listening.getsockname()[1], before.live if before else None)
        write_state(Path(), state)
        if before is not None and before.port != state.port:
            log.say(f"port {before.port} is taken by another program: the service moves to {state.port}")
        log.say(f"supervising {folder.parent.name}/{folder.name} at port {state.port}, process {os.getpid()}")
        shipper = ShipperProcess(folder.name, home, log.say, log.write)
        service = Service(folder.name, listening, state, log, credential_places(home), shipper)
        asyncio.run(_supervise(service, log, ready))
    Path(SOCKET).unlink(missing_ok=True)
    log.say("stopped")


_READY = b"ready"


def _detached() -> Callable[[bytes], None]:
    """Go on in a process of its own; the one that was started ends when this one reports, with what it reports."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        with os.fdopen(reading, "rb") as stream:
            outcome = stream.read()
        if outcome != _READY:
            os.write(2, outcome or b"it ended at once")
        os._exit(outcome != _READY)
    os.close(reading)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)

    reported = False

    def report(outcome: bytes) -> None:
        nonlocal reported
        if not reported:
            reported = True
            with contextlib.suppress(BrokenPipeError):  # whoever started us was killed: we go on
                os.write(writing, outcome)
            os.close(writing)

    return report


if __name__ == "__main__":
    _report = _detached()
    try:
        main(Path(sys.argv[1]), lambda: _report(_READY))
    except NoPortError as error:
        _report(str(error).encode())
    except OSError as error:
        _report(f"{type(error).__name__}: {error}".encode())
        raise
