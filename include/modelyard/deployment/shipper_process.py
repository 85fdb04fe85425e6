"""The shipper of a local service's prediction log, the supervisor's child: it has the credential."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from modelyard.credential_places import SHIPPERS
from modelyard.deployment.server_process import PASSED_ON
from modelyard.deployment.state import SEGMENTS
from modelyard.deployment.target import PredictionLog

_PATIENCE = 5.0  # seconds in which a store that is there takes what is left
_LONGEST_WAIT = 30.0  # seconds between two starts of one that keeps ending


class ShipperProcess:
    """Keeps one shipper running for what is live; the current folder must be the service's.

    It outlives the servers, so that what they leave is sent away; what cannot be sent waits in the service's folder
    for the next one.

    Args:
        model: the service's.
        home: this machine's folder, where the credential is.
        say: a line for the service's log.
        write: for what the shipper itself says.
    """

    def __init__(self, model: str, home: Path, say: Callable[[str], None], write: Callable[[bytes], None]) -> None:
        self._model = model
        self._home = home
        self._say = say
        self._write = write
        self._log: PredictionLog | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._hears = asyncio.Event()

    async def ship(self, log: PredictionLog | None) -> None:
        """Have what is written from now on sent to where ``log`` says; None: nothing is written any more."""
        if self._log == log and self._keeping is not None:
            return
        if self._log is not None and (log is None or log.destination != self._log.destination):
            await self.end()
        self._log = log
        if log is not None and self._keeping is None:
            self._keeping = asyncio.create_task(self._keep())

    async def end(self) -> None:
        """Have it send what there is, and end, within a few seconds. The servers must have ended."""
        if self._keeping is None:
            return
        with contextlib.suppress(TimeoutError):  # one that is starting would die of the signal, with all unsent
            async with asyncio.timeout(_PATIENCE):
                await self._hears.wait()
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)
        self._keeping = None
        if (process := self._process) is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_PATIENCE):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            self._say(f"what is left of the prediction log waits in the service's folder {SEGMENTS}")

    async def _keep(self) -> None:
        wait = 0.0
        while True:
            self._hears.clear()
            began = asyncio.get_running_loop().time()
            try:
                self._process = await self._start()
                await self._talk(self._process)
                why = f"ended with exit code {await self._process.wait()}"
            except OSError as error:
                why = f"cannot be started: {error}"
            self._hears.set()  # nobody is there to be waited for
            lived = asyncio.get_running_loop().time() - began
            wait = 0.5 if lived > _LONGEST_WAIT else min(_LONGEST_WAIT, wait * 2 or 0.5)
            self._say(f"the shipper of the prediction log {why}; starting it again in {wait:g} s")
            await asyncio.sleep(wait)

    async def _start(self) -> asyncio.subprocess.Process:
        log = self._log
        assert log is not None  # noqa: S101 - else nobody keeps it
        command = [sys.executable, "-P", "-m", "modelyard", "predictions", "ship", SEGMENTS, "--prefix", log.prefix]
        command += ["--parent", str(os.getpid())]
        if log.needs_credential:
            command += ["--credential", str(self._home / SHIPPERS / self._model)]
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={name: os.environ[name] for name in PASSED_ON if name in os.environ} | dict(log.destination),
        )

    async def _talk(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None  # noqa: S101 - a pipe was asked for
        while line := await process.stderr.readline():
            self._hears.set()  # its first line comes when it takes signals
            self._write(line)
