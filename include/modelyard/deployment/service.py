"""One local service: what is live, the server that serves it, and how the next one takes over.

A new version takes over in this order. It is started on the same socket, without taking connections. It gets ready and
answers the golden rows through its own control socket. It takes connections and the old one takes none. It answers the
golden rows through the service. It is written down as live. The old one answers what it has and ends. Before "written
down" every failure, even a SIGKILL, ends with the old version; after it, with the new one.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from modelyard.deployment.server_process import ServerError, ServerProcess
from modelyard.deployment.service_log import ServiceLog
from modelyard.deployment.shipper_process import ShipperProcess
from modelyard.deployment.state import Release, State, write_state
from modelyard.deployment.target import JSON, PredictionLog

_DRAIN = 60.0  # seconds for a replaced server's last answers; it gives idle connections 15 itself
_STOP = 3.0  # the same when the whole service is stopped
_LONGEST_WAIT = 30.0  # seconds between two starts of a server that keeps ending


class OlderError(Exception):
    """A newer generation is live."""


class Service:
    """The service in the current folder: its socket, its state, its server.

    Args:
        hidden: files and folders that its servers shall not read.
        shipper: sends away what they log.
    """

    def __init__(
        self,
        model: str,
        listening: socket.socket,
        state: State,
        log: ServiceLog,
        hidden: Sequence[Path],
        shipper: ShipperProcess,
    ) -> None:
        self._model = model
        self._listening = listening
        self._state = state
        self._log = log
        self._hidden = hidden
        self._shipper = shipper
        self._server: ServerProcess | None = None
        self._changing = asyncio.Lock()
        self._numbers = count(1)
        self._watches: set[asyncio.Task[None]] = set()

    @property
    def status(self) -> JSON:
        """What the service is, for whoever asks."""
        return {"pid": os.getpid(), "port": self._state.port, "running": self._server is not None}

    async def deploy(self, release: Release, golden: JSON, log: Callable[[str], None]) -> None:
        """Take a release live; what served before goes on when that fails.

        Raises:
            ServerError: it did not get ready, or failed its smoke test.
            OlderError: a newer generation is live.
        """
        async with self._changing:
            live = self._state.live
            if live is not None and release.generation < live.generation:
                raise OlderError(f"generation {live.generation} (version {live.version}) is live already")
            if self._server is not None and self._server.release == release:
                await self._server.smoke_test(golden, port=self._state.port)
                log(f"version {release.version} is live already")
                return
            log(f"starting version {release.version}")
            new, old = self._new_server(release), self._server
            await new.start()
            try:
                await new.smoke_test(golden)
                log(f"version {release.version} is ready; it takes over")
                await new.accept()
                await self._prove(new, old, golden)
            except BaseException:
                await new.end(_DRAIN)
                raise
            self._take(new)
            if old is not None:
                log(f"version {old.release.version} answers what it has, then ends")
                await old.end(_DRAIN)
            await self._shipper.ship(_prediction_log(release))

    async def start(self) -> None:
        """Bring the live release up again, as often as it takes."""
        wait = 0.0
        while True:
            async with self._changing:
                if self._server is not None or self._state.live is None:
                    return
                server = self._new_server(self._state.live)
                try:
                    await server.start()
                    await server.accept()
                except ServerError as error:
                    wait = min(_LONGEST_WAIT, wait * 2 or 0.5)
                    self._log.say(f"{error}\ntrying again in {wait:g} s")
                else:
                    self._take(server)
                    await self._shipper.ship(_prediction_log(server.release))
                    return
            await asyncio.sleep(wait)

    async def end(self) -> None:
        """End the server that serves, and start none any more."""
        await cancelled(self._watches)
        if self._server is not None:
            server, self._server = self._server, None
            await server.end(_STOP)
        await self._shipper.end()

    def _new_server(self, release: Release) -> ServerProcess:
        control = f"server-{next(self._numbers)}.sock"
        return ServerProcess(release, self._model, self._listening, control, self._log, self._hidden)

    async def _prove(self, new: ServerProcess, old: ServerProcess | None, golden: JSON) -> None:
        """Have the new server alone take connections, and answer through the service; else bring the old one back."""
        if old is not None:
            try:
                await old.pause()
            except ServerError:
                if not old.ended:
                    raise
                old = None  # it crashed meanwhile: nothing to pause
        try:
            await new.smoke_test(golden, port=self._state.port)
            self._write(replace(self._state, live=new.release))
        except BaseException:
            if old is not None:
                await old.accept()
            raise

    def _write(self, state: State) -> None:
        write_state(Path(), state)
        self._state = state

    def _take(self, server: ServerProcess) -> None:
        self._server = server
        watch = asyncio.create_task(self._watch(server))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        self._log.say(f"version {server.release.version} serves at port {self._state.port}")

    async def _watch(self, server: ServerProcess) -> None:
        code = await server.wait()
        if self._server is server:
            self._server = None
            self._log.say(
                f"the server of version {server.release.version} ended with exit code {code}; starting it again"
            )
            await self.start()


def _prediction_log(release: Release) -> PredictionLog | None:
    return None if release.log is None else PredictionLog.from_json(release.log)


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
