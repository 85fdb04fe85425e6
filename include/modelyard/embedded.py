"""The embedded database: SecantusDB, a server that speaks MongoDB's protocol, as a process of its own.

For demo, laptop and tests. It is beta software and no place for production data, and it is only ever run, never
imported. Everything it needs is in one folder: its data, ``server.json`` (process, port and password; readable by its
owner alone) and ``server.log``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from modelyard.background import Session, free_port, last_line, locked, spawn, write_private
from modelyard.errors import StoreError, Unavailable

_USER = "modelyard"
_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_DUPLICATE_USER = 51003


@dataclass(frozen=True)
class _Server:
    """What ``server.json`` holds. ``started`` tells the process from a later one with the same id."""

    password: str
    user_made: bool = False
    port: int | None = None
    pid: int | None = None
    started: str | None = None

    @property
    def uri(self) -> str:
        return f"mongodb://{_USER}:{quote(self.password, safe='')}@127.0.0.1:{self.port}/?authSource=admin"

    @property
    def session(self) -> Session | None:
        return None if self.pid is None or self.started is None else Session(self.pid, self.started)


def start(folder: Path) -> str:
    """Start the server on ``folder``, or find it running, and return its URI once it answers.

    It listens on 127.0.0.1 only, keeps its port from start to start as long as nobody else has taken it, asks for a
    password, and survives the end of this process. Two processes that start it at once get the same server.

    Args:
        folder: made when it is missing; belongs to the server alone.

    Raises:
        StoreError: the server is not installed.
        Unavailable: it does not start; the message has the last line of its log.
    """
    if importlib.util.find_spec("secantus") is None:
        raise StoreError("The embedded database is not installed", "pip install 'modelyard[embedded]'")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(folder):
        server = _read(folder) or _Server(password=secrets.token_urlsafe(24))
        if server.session is not None and server.session.alive:
            with suppress(Unavailable):  # otherwise it is about to end, or hangs
                _wait_until_ready(server.session, server.uri, folder)
                return server.uri
            server.session.end(_STOP_SECONDS)
        _write(folder, server)
        if not server.user_made:
            _make_user(folder, server.password)
        port = free_port() if server.port is None else free_port(server.port)
        session = _spawn(folder, port, "--auth")
        server = _Server(server.password, user_made=True, port=port, pid=session.pid, started=session.started)
        _write(folder, server)
        try:
            _wait_until_ready(session, server.uri, folder)
        except BaseException:
            session.end(_STOP_SECONDS)
            raise
        return server.uri


def stop(folder: Path) -> bool:
    """End the server of ``folder`` and wait until its process is gone; return whether one was running."""
    if not folder.is_dir():
        return False
    with locked(folder):
        server = _read(folder)
        if server is None or server.session is None or not server.session.end(_STOP_SECONDS):
            return False
        _write(folder, _Server(server.password, server.user_made, server.port))
        return True


def uri(folder: Path) -> str | None:
    """Return the URI of the server last started on ``folder``, running or not; None where there never was one."""
    server = _read(folder)
    return None if server is None or server.port is None else server.uri


def _make_user(folder: Path, password: str) -> None:
    """Make the one user.

    The server makes users only while it asks for no password: for that second it listens where nobody knows of it.
    """
    import pymongo
    from pymongo.errors import OperationFailure

    port = free_port()
    session = _spawn(folder, port)
    try:
        address = f"mongodb://127.0.0.1:{port}/"
        _wait_until_ready(session, address, folder)
        with pymongo.MongoClient[dict[str, object]](address) as client:
            try:
                client.admin.command("createUser", _USER, pwd=password, roles=["root"])
            except OperationFailure as error:
                if error.code != _DUPLICATE_USER:  # otherwise: made by a start that was killed before it was noted
                    raise
                client.admin.command("updateUser", _USER, pwd=password)
    finally:
        session.end(_STOP_SECONDS)


def _spawn(folder: Path, port: int, *options: str) -> Session:
    command = [sys.executable, "-I", "-m", "secantus", "--host", "127.0.0.1", "--port", str(port)]
    # An empty configuration file of its own, so that none in /etc or a home folder changes this server.
    configuration = folder / "server.toml"
    configuration.touch()
    command += ["--config", str(configuration), "--storage-path", str(folder / "data")]
    command += ["--sync-on-commit", *options]
    # No credential of whoever starts it lives on in a process that stays.
    return Session.of(spawn(command, folder / "server.log", folder, {"PATH": os.defpath}))


def _wait_until_ready(session: Session, address: str, folder: Path) -> None:
    import pymongo
    from pymongo.errors import PyMongoError

    deadline = time.monotonic() + _START_SECONDS
    with pymongo.MongoClient[dict[str, object]](address, serverSelectionTimeoutMS=250) as client:
        while session.alive and time.monotonic() < deadline:
            with suppress(PyMongoError):
                client.admin.command("ping")
                return
            time.sleep(0.02)
    what = "does not answer" if session.alive else "has ended"
    raise Unavailable(
        f"The embedded database {what}: {last_line(folder / 'server.log')}", f"read {folder / 'server.log'}"
    )


def _read(folder: Path) -> _Server | None:
    try:
        return _Server(**json.loads((folder / "server.json").read_text()))
    except FileNotFoundError:
        return None


def _write(folder: Path, server: _Server) -> None:
    write_private(folder / "server.json", json.dumps(asdict(server)))
