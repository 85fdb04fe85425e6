"""One model server, the supervisor's child: started on the service's socket, questioned through one of its own."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from modelyard.client.child import confined
from modelyard.deployment.service_log import ServiceLog
from modelyard.deployment.smoke import SmokeError, smoke_test
from modelyard.deployment.state import SEGMENTS, Release
from modelyard.deployment.target import JSON, PredictionLog

# A model's code runs in the server's children: nothing reaches them but what is named here, and never a credential.
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")
TOKENS = "tokens"  # in the service's folder: whoever asks needs one of those in it, where there is such a file
_ANSWER_SECONDS = 30.0


class ServerError(Exception):
    """A server ended or did not do what it was asked; the message ends with the last lines of its own log."""


class _ControlConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class ServerProcess:
    """A server of one release; the current folder must be the service's.

    Args:
        control: name of its control socket, unused so far.
        hidden: files and folders that it shall not read.
    """

    def __init__(
        self,
        release: Release,
        model: str,
        listening: socket.socket,
        control: str,
        log: ServiceLog,
        hidden: Sequence[Path],
    ) -> None:
        self.release = release
        self._model = model
        self._listening = listening
        self._control = control
        self._log = log
        self._hidden = hidden
        self._tail: deque[bytes] = deque(maxlen=20)
        self._pumps: list[asyncio.Task[None]] = []

    @property
    def ended(self) -> bool:
        """The process is gone."""
        return self._process.returncode is not None

    async def start(self) -> None:
        """Start the process and return when it is ready to answer; it takes no connections yet.

        Raises:
            ServerError: it ended, or was not ready in time; it is gone then.
        """
        release = self.release
        # Pipes of our own: with asyncio's, waiting for the process waits for whoever else holds their other end.
        (output, output_end), (errors, errors_end) = os.pipe(), os.pipe()
        self._pumps = [
            asyncio.create_task(self._pump(os.fdopen(output, "rb"), None)),
            asyncio.create_task(self._pump(os.fdopen(errors, "rb"), self._tail)),
        ]
        arguments = ["--root", release.root, "--fd", str(self._listening.fileno()), "--control", self._control]
        command = [f"{release.root}/server/bin/python", "-I", "-m", "modelyard.serving", *arguments]
        command += ["--workers", str(release.workers)]
        try:
            self._process = await asyncio.create_subprocess_exec(
                *confined(command, hidden=self._hidden),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output_end,
                stderr=errors_end,
                pass_fds=[self._listening.fileno()],
                env=server_environment(os.environ, self._model, release) | _tokens(),
            )
        except OSError as error:
            raise ServerError(f"the server cannot be started: {error}") from error
        finally:
            os.close(output_end)
            os.close(errors_end)
        try:
            async with asyncio.timeout(release.ready_timeout):
                await self._until_ready()
        except TimeoutError as error:
            await self.end(0)
            raise ServerError(
                f"version {release.version} was not ready in {release.ready_timeout:g} s{self._words()}"
            ) from error
        except BaseException:
            await self.end(0)
            raise

    async def accept(self) -> None:
        """Have it take connections."""
        await self._tell("/control/accept")

    async def pause(self) -> None:
        """Have it take no new connections; those it has go on."""
        await self._tell("/control/pause")

    async def smoke_test(self, golden: JSON, *, port: int | None = None) -> None:
        """Have it answer the golden rows: through its control socket, or through the service's port.

        Raises:
            ServerError: it answers something else.
        """
        connection = (
            _ControlConnection(self._control)
            if port is None
            else http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
        )
        release, token = self.release, "" if port is None else _a_token()
        try:
            await asyncio.to_thread(smoke_test, connection, release.version, release.image_digest, golden, token)
        except SmokeError as error:
            where = "" if port is None else " through the service"
            raise ServerError(
                f"version {self.release.version} fails its smoke test{where}: {error}{self._words()}"
            ) from error

    async def wait(self) -> int:
        """Return its exit code once it has ended and what it said is in the log."""
        code = await self._process.wait()
        # A process that the model's code left behind may keep the other end open: not a reason to wait for it.
        await asyncio.wait(self._pumps, timeout=1)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._control)  # noqa: PTH108 - no blocking worth a thread
        return code

    async def end(self, patience: float) -> None:
        """Have it answer what it has, then end; kill it after ``patience`` seconds."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(patience):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self.wait()

    async def _until_ready(self) -> None:
        ended = asyncio.create_task(self.wait())
        try:
            while not ended.done():
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if await asyncio.to_thread(self._status, "GET", "/readyz") == 200:
                        return
                await asyncio.wait({ended}, timeout=0.02)
        finally:
            ended.cancel()
        code = self._process.returncode
        raise ServerError(f"the server of version {self.release.version} ended with exit code {code}{self._words()}")

    async def _tell(self, path: str) -> None:
        try:
            status = await asyncio.to_thread(self._status, "POST", path)
        except (OSError, http.client.HTTPException) as error:
            raise ServerError(f"the server of version {self.release.version} does not answer: {error}") from error
        if status != 200:
            raise ServerError(
                f"the server of version {self.release.version} answered {status} to {path}{self._words()}"
            )

    def _status(self, method: str, path: str) -> int:
        connection = _ControlConnection(self._control)
        try:
            connection.request(method, path)
            return connection.getresponse().status
        finally:
            connection.close()

    async def _pump(self, pipe: BinaryIO, tail: deque[bytes] | None) -> None:
        stream, rest = asyncio.StreamReader(), b""
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), pipe)
        while chunk := await stream.read(65536):
            whole, newline, rest = (rest + chunk).rpartition(b"\n")
            if newline:
                self._log.write(whole + newline)
                if tail is not None:
                    tail.extend(whole.split(b"\n"))
        if rest:
            self._log.write(rest + b"\n")
            if tail is not None:
                tail.append(rest)

    def _words(self) -> str:
        return "".join(f"\n    {line.decode(errors='replace')}" for line in self._tail)


def _tokens() -> dict[str, str]:
    """Return what tells a server who may ask it; its control socket needs no token."""
    file = Path(TOKENS)
    return {"MODELYARD_TOKENS_FILE": str(file.absolute())} if file.exists() else {}


def _a_token() -> str:
    file = Path(TOKENS)
    return next(iter(file.read_text().split()), "") if file.exists() else ""


def server_environment(ours: Mapping[str, str], model: str, release: Release) -> dict[str, str]:
    """Return a server's whole environment: a few harmless variables of ours, and what it is."""
    return {name: ours[name] for name in PASSED_ON if name in ours} | {
        "MODELYARD_MODEL_NAME": model,
        "MODELYARD_MODEL_VERSION": str(release.version),
        "MODELYARD_RUN_ID": str(release.run_id),
        "MODELYARD_IMAGE_DIGEST": release.image_digest,
        **release.tracing,
        **_log_environment(release),
    }


def _log_environment(release: Release) -> dict[str, str]:
    if release.log is None:
        return {}
    return {"MODELYARD_PREDICTION_LOG": PredictionLog.from_json(release.log).settings(str(Path(SEGMENTS).absolute()))}
