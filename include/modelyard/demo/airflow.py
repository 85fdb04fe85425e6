"""Airflow on this machine: ``airflow standalone`` in a session of its own, everything of it below one folder.

For demo and tests. The folder holds ``airflow.cfg`` (with this installation's keys, readable by its owner alone), the
password of the user ``admin``, Airflow's database and logs, and ``server.json``, by which the next start or stop finds
the processes. ``AIRFLOW_HOME=folder airflow …`` reaches the same Airflow.
"""

from __future__ import annotations

import configparser
import io
import json
import os
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from modelyard.background import Session, free_port, last_line, locked, spawn, write_private
from modelyard.errors import Unavailable

USER = "admin"
_START_SECONDS = 180.0
_STOP_SECONDS = 10.0

Settings = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class _State:
    """What ``server.json`` holds. The ports stay the same from start to start unless somebody takes them."""

    port: int
    worker_log_port: int
    trigger_log_port: int
    pid: int | None = None
    started: str | None = None

    @property
    def session(self) -> Session | None:
        return None if self.pid is None or self.started is None else Session(self.pid, self.started)


class AirflowServer:
    """One Airflow: API server, scheduler, DAG processor and triggerer, for as long as nobody stops it.

    Args:
        folder: its AIRFLOW_HOME, made when missing.
        example: the ``airflow.cfg.example`` whose settings it takes over.
        dags, plugins: the folders it reads.
        projects: folders whose model projects become DAGs.
        home: this machine's folder for Modelyard's caches and services (``MODELYARD_HOME``).
        environment: what its processes may see of the caller's environment; settings of another Airflow or another
            Modelyard in it are left out.
        port: of its user interface and API if nobody has it; 0 for any that is free.
        settings: further settings by section and key, over those that are set here.
    """

    def __init__(
        self,
        folder: Path,
        *,
        example: Path,
        dags: Path,
        plugins: Path,
        projects: Sequence[Path],
        home: Path,
        environment: Mapping[str, str],
        port: int = 0,
        settings: Settings | None = None,
    ) -> None:
        self._folder = folder
        self._port = port
        self._example = example
        self._dags = dags
        self._plugins = plugins
        self._projects = projects
        self._home = home
        self._environment = environment
        self._settings = settings or {}

    @property
    def url(self) -> str:
        """The address it was last started at."""
        state = self._read()
        if state is None:
            raise Unavailable(f"No Airflow was started in {self._folder}", "make demo")
        return f"http://127.0.0.1:{state.port}"

    @property
    def password(self) -> str:
        """The password of the user ``admin``."""
        passwords: dict[str, str] = json.loads(self._passwords_file.read_text())
        return passwords[USER]

    @property
    def log_file(self) -> Path:
        """Where all its processes write what is no task's log."""
        return self._folder / "standalone.log"

    def start(self) -> str:
        """Start it, or find it running with these very settings, and return its address once all of it works.

        Raises:
            Unavailable: it ended or was not ready in time; the message has the last line of its log.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(self._folder):
            before = self._read()
            if before is not None and before.session is not None:
                if before.session.alive and self._config(before) == self._config_file.read_text():
                    return self._wait_until_ready(before.session, since=0)
                before.session.end(_STOP_SECONDS)
            state = _choose_ports(before, self._port)
            if not self._passwords_file.exists():
                write_private(self._passwords_file, json.dumps({USER: secrets.token_urlsafe(12)}))
            write_private(self._config_file, self._config(state))
            self.log_file.unlink(missing_ok=True)
            process = spawn(
                [str(_bin() / "airflow"), "standalone"], self.log_file, self._folder, self._process_environment()
            )
            session = Session.of(process)
            self._write(_State(state.port, state.worker_log_port, state.trigger_log_port, session.pid, session.started))
            try:
                return self._wait_until_ready(session, since=time.time())
            except BaseException:
                session.end(_STOP_SECONDS)
                raise

    def stop(self) -> bool:
        """End all its processes, tasks that run among them; return whether there was one."""
        if not self._folder.is_dir():
            return False
        with locked(self._folder):
            state = self._read()
            return state is not None and state.session is not None and state.session.end(_STOP_SECONDS)

    @property
    def _config_file(self) -> Path:
        return self._folder / "airflow.cfg"

    @property
    def _passwords_file(self) -> Path:
        return self._folder / "passwords.json"

    def _config(self, state: _State) -> str:
        """Return airflow.cfg as text: the example's settings, and over them those that belong to this machine."""
        url = f"http://127.0.0.1:{state.port}"
        sections: dict[str, dict[str, str]] = {
            "core": {
                "dags_folder": str(self._dags),
                "plugins_folder": str(self._plugins),
                "load_examples": "False",
                "dags_are_paused_at_creation": "False",
                "fernet_key": self._key("fernet_key"),
                "execution_api_server_url": f"{url}/execution/",
                "simple_auth_manager_users": f"{USER}:admin",
                "simple_auth_manager_passwords_file": str(self._passwords_file),
            },
            "api": {
                "host": "127.0.0.1",
                "port": str(state.port),
                "base_url": url,
                "secret_key": self._key("secret_key"),
            },
            "api_auth": {"jwt_secret": self._key("jwt_secret")},
            "logging": {
                "worker_log_server_port": str(state.worker_log_port),
                "trigger_log_server_port": str(state.trigger_log_port),
            },
            "modelyard": {"projects": ",".join(map(str, self._projects))},
        }
        config = configparser.RawConfigParser()
        config.read(self._example)
        for given in (sections, self._settings):
            config.read_dict(
                {name: {key: value.replace("%", "%%") for key, value in keys.items()} for name, keys in given.items()}
            )
        text = io.StringIO()
        config.write(text)
        return text.getvalue()

    def _key(self, name: str) -> str:
        """Return this installation's key of that name; made at its first use, then kept."""
        file = self._folder / f"{name}.key"
        if not file.exists():
            from cryptography.fernet import Fernet

            write_private(file, Fernet.generate_key().decode())
        return file.read_text()

    def _process_environment(self) -> dict[str, str]:
        foreign = ("AIRFLOW", "MODELYARD_", "PYTHON")
        kept = {name: value for name, value in self._environment.items() if not name.startswith(foreign)}
        path = f"{_bin()}{os.pathsep}{kept.get('PATH', os.defpath)}"
        return kept | {
            "PATH": path,
            "AIRFLOW_HOME": str(self._folder),
            "MODELYARD_HOME": str(self._home),
            "NO_COLOR": "1",
        }

    def _wait_until_ready(self, session: Session, since: float) -> str:
        url = self.url
        deadline = time.monotonic() + _START_SECONDS
        while session.alive and time.monotonic() < deadline:
            if _is_healthy(url, since):
                self._make_sure_it_is_ours(url)
                # The API server builds the tasks' part of it at its first request, and answers nobody meanwhile: for
                # seconds, on a busy machine for a minute. The first task would wait for that, or give up.
                httpx.get(f"{url}/execution/health", timeout=_START_SECONDS).raise_for_status()
                return url
            time.sleep(0.1)
        what = "was not ready in time" if session.alive else "ended while it was starting"
        raise Unavailable(f"Airflow {what}: {last_line(self.log_file)}", f"read {self.log_file}")

    def _make_sure_it_is_ours(self, url: str) -> None:
        """Refuse another Airflow that has taken the port while this one was starting: it doesn't know our password."""
        credentials = {"username": USER, "password": self.password}
        if httpx.post(f"{url}/auth/token", json=credentials, timeout=30).is_client_error:
            raise Unavailable(f"Another program has taken {url} meanwhile", "start again: another port is chosen then")

    def _read(self) -> _State | None:
        try:
            return _State(**json.loads((self._folder / "server.json").read_text()))
        except FileNotFoundError:
            return None

    def _write(self, state: _State) -> None:
        write_private(self._folder / "server.json", json.dumps(asdict(state)))


def _choose_ports(before: _State | None, preferred: int) -> _State:
    if before is None:
        return _State(free_port(preferred), free_port(), free_port())
    return _State(
        free_port(before.port, preferred), free_port(before.worker_log_port), free_port(before.trigger_log_port)
    )


def _is_healthy(url: str, since: float) -> bool:
    """Tell whether the API answers and scheduler and DAG processor have been at work after ``since``.

    A heartbeat in the database may be that of a process which was ended a moment ago.
    """
    try:
        health: dict[str, dict[str, Any]] = httpx.get(f"{url}/api/v2/monitor/health", timeout=5).json()
    except (httpx.TransportError, json.JSONDecodeError):
        return False
    return all(
        health[part]["status"] == "healthy"
        and datetime.fromisoformat(health[part][f"latest_{part}_heartbeat"]).timestamp() > since
        for part in ("scheduler", "dag_processor")
    )


def _bin() -> Path:
    return Path(sys.executable).parent
