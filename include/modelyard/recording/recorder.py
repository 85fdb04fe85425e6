"""The parent's end of the relay: takes the events of every run that a project's process starts."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from modelyard.client import frames
from modelyard.errors import ModelyardError, RequestError
from modelyard.recording.run import RecordedRun
from modelyard.recording.spool import FileSpool, Journal
from modelyard.store import Store

JSON = dict[str, Any]

_SHORT_PATIENCE_SECONDS = 10.0


class Witness(Protocol):
    """Whoever wants to see each run from its start to its end."""

    def started(self, run: RecordedRun) -> None: ...  # noqa: D102
    def ended(self, run: RecordedRun) -> None: ...  # noqa: D102


class Recorder:
    """Listens on a Unix socket and records what comes; a context manager, whose end waits for nothing: see ``finish``.

    Args:
        workdir: what waits to be written is kept in a folder in it meanwhile: as much as the experiment leaves.
        stamp: kept in each run's ``meta.modelyard``.
        repository: url, commit and dirty state of the code, where Sacred can't find them itself.
        expected: config entries, by dotted path, that a run must have: else it did not hear what it was asked for.
        listener: a socket that listens already; one of the recorder's own when not given.
        witness: told of each run that starts, and that has ended and is written, before the experiment goes on.
    """

    def __init__(
        self,
        store: Store,
        log: Callable[[str], None],
        workdir: Path,
        *,
        stamp: JSON | None = None,
        repository: JSON | None = None,
        expected: Mapping[str, Any] | None = None,
        listener: socket.socket | None = None,
        witness: Witness | None = None,
    ) -> None:
        self._store = store
        self._log = log
        self._stamp = stamp or {}
        self._repository = repository
        self._expected = expected or {}
        self._witness = witness
        # Private: mkdtemp makes them so. The socket's path has room for 107 bytes, so its folder is a short one.
        # It stays when this process is killed: all that is large is in the workdir, which its owner clears up.
        self._folder = Path(tempfile.mkdtemp(prefix="modelyard-"))
        self._spool = Path(tempfile.mkdtemp(prefix="spool-", dir=workdir))
        self.address = str(self._folder / "relay")
        self._files = FileSpool(self._spool)
        self._listener = listener or socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if listener is None:
            self._listener.bind(self.address)
            self._listener.listen()
        self._connections: list[tuple[socket.socket, threading.Thread]] = []
        self._acceptor = threading.Thread(target=self._accept, name="modelyard-relay", daemon=True)
        self._refusal: ModelyardError | None = None
        self.runs: list[RecordedRun] = []

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._stop()
            for run in self.runs:
                run.lost("INTERRUPTED", "its recording ended before it did")
                # Whoever leaves by an exception has it already; what this could say was logged.
                with suppress(ModelyardError):
                    run.wait(patience=_SHORT_PATIENCE_SECONDS)
        finally:
            shutil.rmtree(self._folder)
            shutil.rmtree(self._spool, ignore_errors=True)

    def finish(self, status: Literal["INTERRUPTED", "FAILED"], reason: str) -> list[RecordedRun]:
        """Wait until everything that was sent is in the store; return the runs.

        Call it when the project's process has ended. What it has left open is closed with this status and reason.

        Raises:
            RequestError: a run was refused: it had not the config it was asked to have.
            Unavailable: the store could not be reached when a run started, or has been away for too long.
            ModelyardError: a run could not be recorded.
        """
        self._stop()
        for run in self.runs:
            run.lost(status, reason)
        for run in self.runs:
            run.wait()
        if self._refusal is not None:
            raise self._refusal
        return self.runs

    def _stop(self) -> None:
        # shutdown, unlike close, wakes the thread that waits in accept; the second time there is nothing to shut down.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        for connection, thread in self._connections:
            # What has arrived is still read; what a forgotten process could send is not.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # shut down
            thread = threading.Thread(target=self._serve, args=(connection,), name="modelyard-connection", daemon=True)
            self._connections.append((connection, thread))
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        run: RecordedRun | None = None
        with connection:
            try:
                while True:
                    message, file = frames.receive_with_file(connection)
                    if message is None:
                        return
                    try:
                        if message.get("event") == "started":
                            run, answer = self._start(message)
                        else:
                            answer = self._answer(message, file, run)
                    except (ModelyardError, KeyError, TypeError, ValueError, OSError) as error:
                        answer = {"error": self._told(error)}
                    finally:
                        if file is not None:
                            os.close(file)
                    frames.send(connection, answer)
            except OSError as error:
                self._log(f"the connection of the experiment broke: {error}")

    def _told(self, error: Exception) -> str:
        """Return what the client is told. What the disk or a file has refused, whoever reads the log is told too."""
        if isinstance(error, OSError):
            where = error.filename or self._spool
            remedy = "make room there, or make it readable and writable, and train again"
            error = ModelyardError(f"The run cannot be recorded: {error.strerror or error}: {where}", remedy)
            self._log(str(error))
        return str(error) if isinstance(error, ModelyardError | ValueError) else repr(error)

    def _start(self, message: JSON) -> tuple[RecordedRun, JSON]:
        journal = Journal(self._spool / f"journal-{len(self.runs)}-{threading.get_ident()}")
        run = RecordedRun(self._store, self._files, journal, self._log)
        try:
            self._refuse_deaf(message["config"])
            run_id = run.start(message, self._stamp, self._repository)
        except ModelyardError as error:
            self._refusal = error
            raise
        self.runs.append(run)
        self._log(f"Sacred run {run_id}")
        if self._witness is not None:
            self._witness.started(run)
        return run, {"run_id": run_id}

    def _answer(self, message: JSON, file: int | None, run: RecordedRun | None) -> JSON:
        if message["event"] == "put":
            if file is None:
                raise ValueError("no file came with 'put'")
            digest, size = self._files.keep(file, str(message["name"]))
            return {"digest": digest, "size": size}
        if run is None:
            raise ValueError(f"'{message['event']}' before the run has started")
        run.take(message)
        if self._witness is not None and run.status != "RUNNING":
            run.wait()
            self._witness.ended(run)
        return {}

    def _refuse_deaf(self, config: JSON) -> None:
        for path, value in self._expected.items():
            found: Any = config
            for key in path.split("."):
                found = found.get(key) if isinstance(found, dict) else None
            if found != value:
                raise RequestError(
                    f"The run has {path} = {found!r} in its config, and {value!r} was asked for",
                    "let the entry take config from outside: @ex.automain or ex.run_commandline() in a script, "
                    "ex.run(config_updates=config_updates) in a notebook",
                )
