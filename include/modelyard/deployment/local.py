"""Services on this machine: a supervised process from the unpacked layers of the image."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from modelyard.credential_places import SHIPPERS
from modelyard.deployment.conversation import ask
from modelyard.deployment.server_process import PASSED_ON
from modelyard.deployment.state import SEGMENTS, Release, read_state, service_folder, service_folders
from modelyard.deployment.supervisor import LOCK, LOG
from modelyard.deployment.target import JSON, Live, PredictionLog, ServiceSpec
from modelyard.errors import DeploymentFailed, Superseded, Unavailable
from modelyard.serving.segment import KINDS

_START_SECONDS = 20.0
_RUNNING_SECONDS = 60.0
_STOP_SECONDS = 30.0
_BEYOND_READY = 300.0  # smoke tests and the old version's last answers

Unpack = Callable[[str, str], Path]


class LocalTarget:
    """The target of ``target: local``.

    Args:
        home: this machine's folder; services live in its ``deployments``.
        unpack: (model, image digest) → folder with ``environment server project model``.
    """

    def __init__(self, home: Path, unpack: Unpack) -> None:
        self._home = home.resolve()
        self._unpack = unpack

    def deploy(self, spec: ServiceSpec, log: Callable[[str], None]) -> str:
        """See ``Target.deploy``. May be killed at any moment: the supervisor brings to its end what was begun."""
        root = self._unpack(spec.model, spec.image_digest)
        folder = service_folder(self._home, spec.environment, spec.model)
        release = Release(
            version=spec.version,
            run_id=spec.run_id,
            image_digest=spec.image_digest,
            generation=spec.generation,
            root=str(root),
            workers=spec.workers,
            ready_timeout=spec.ready_timeout,
            log=None if spec.log is None else json.loads(json.dumps(asdict(spec.log))),
            tracing={} if spec.tracing is None else spec.tracing.to_environment(spec.environment),
        )
        self._check_credential(spec)
        _ensure_supervisor(folder)
        answer: JSON = {}
        try:
            question = {"command": "deploy", "release": asdict(release), "golden": spec.smoke}
            for answer in ask(folder, question, spec.ready_timeout + _BEYOND_READY):
                if "log" in answer:
                    log(answer["log"])
        except OSError as error:
            raise _lost(folder) from error
        if "failed" in answer:
            before = self.current(spec.model, spec.environment)
            serving = f"version {before.version} still serves" if before else "nothing served before"
            raise DeploymentFailed(
                f"{spec.model}:{spec.version} did not go live in '{spec.environment}'; {serving}: {answer['failed']}",
                f"the whole log is in {folder / LOG}",
            )
        if "older" in answer:
            raise Superseded(f"{spec.model}:{spec.version} is not deployed to '{spec.environment}': {answer['older']}")
        if "done" not in answer:
            raise _lost(folder)
        return _address(answer["done"]["port"])

    def _check_credential(self, spec: ServiceSpec) -> None:
        folder = self._home / SHIPPERS / spec.model
        if spec.log is not None and spec.log.needs_credential and not folder.is_dir():
            raise DeploymentFailed(
                f"Nothing on this machine may send the prediction log of {spec.model} to {_place(spec.log)}",
                f"put the keys of a user who may into {folder}; `modelyard predictions policy {spec.model}` tells more",
            )

    def current(self, model: str, environment: str) -> Live | None:
        """See ``Target.current``."""
        return _live(service_folder(self._home, environment, model))

    def remove(self, model: str, environment: str) -> None:
        """See ``Target.remove``.

        Raises:
            Unavailable: what it has logged could not all be sent away: it is stopped, and its folder is kept.
        """
        folder = service_folder(self._home, environment, model)
        if not folder.is_dir():
            return
        _stop(folder)
        if unsent := [path for kind in KINDS for path in (folder / SEGMENTS).glob(f"{kind}.*")]:
            raise Unavailable(
                f"The service of {model} in '{environment}' is stopped, and kept: of its prediction log "
                f"{len(unsent)} files are not sent away yet",
                f"{folder / LOG} says why; once `modelyard services start` has sent them, remove it again",
            )
        shutil.rmtree(folder)


def services(home: Path) -> list[Live]:
    """Return every service of this machine that ever went live, running or not."""
    return [live for folder in service_folders(home.resolve()) if (live := _live(folder))]


def start_all(home: Path) -> list[Live]:
    """Start the services that were live before a stop, a crash or a restart of the machine; leave alone those that run.

    Returns when all run, or after a minute; a supervisor goes on trying, and its log says why it has to.

    Raises:
        Unavailable: a supervisor does not start.
    """
    for folder in service_folders(home.resolve()):
        _ensure_supervisor(folder)
    deadline = time.monotonic() + _RUNNING_SECONDS
    while True:
        started = services(home)
        if all(live.running for live in started) or time.monotonic() > deadline:
            return started
        time.sleep(0.05)


def stop_all(home: Path) -> int:
    """Stop every service and wait until its processes are gone; return how many ran. ``start_all`` brings them back."""
    return sum(_stop(folder) for folder in service_folders(home.resolve()))


def _live(folder: Path) -> Live | None:
    state = read_state(folder) if folder.is_dir() else None
    if state is None or state.live is None:
        return None
    try:
        running = any(answer["status"]["running"] for answer in ask(folder, {"command": "status"}, 10))
    except OSError:
        running = False
    live = state.live
    return Live(
        model=folder.name,
        environment=folder.parent.name,
        version=live.version,
        run_id=live.run_id,
        image_digest=live.image_digest,
        generation=live.generation,
        address=_address(state.port),
        running=running,
    )


def _ensure_supervisor(folder: Path) -> None:
    """Start the folder's supervisor unless one answers; a dead one's servers have died with it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with suppress(OSError):
            if list(ask(folder, {"command": "status"}, 10)):
                return
        if time.monotonic() > deadline:
            raise Unavailable(f"The supervisor in {folder} does not answer", f"its log {folder / LOG} tells more")
        command = [sys.executable, "-P", "-m", "modelyard.deployment.supervisor", str(folder)]
        # AIRFLOW_HOME is for the supervisor alone, which hides what lies there from its servers.
        environment = {name: os.environ[name] for name in (*PASSED_ON, "AIRFLOW_HOME") if name in os.environ}
        started = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if started.returncode != 0:
            raise DeploymentFailed(
                f"The supervisor in {folder} does not start: {started.stderr.strip()}",
                f"its log {folder / LOG} tells more",
            )


def _stop(folder: Path) -> bool:
    """Stop the folder's supervisor with its servers; return whether there was one."""
    if _unsupervised(folder):
        return False
    pid = None
    try:
        pid = next(iter(ask(folder, {"command": "status"}, 5)))["status"]["pid"]
        list(ask(folder, {"command": "stop"}, _STOP_SECONDS))
    except (OSError, StopIteration):
        pass  # it is ending already; whether it has is asked below
    deadline = time.monotonic() + _STOP_SECONDS
    while not _unsupervised(folder):
        if time.monotonic() > deadline:
            if pid is None:
                raise Unavailable(f"The supervisor in {folder} holds its lock and does not answer", "end its process")
            os.kill(pid, signal.SIGKILL)
            deadline += _STOP_SECONDS
        time.sleep(0.02)
    return True


def _unsupervised(folder: Path) -> bool:
    """Return whether nobody holds the folder's lock."""
    with (folder / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _lost(folder: Path) -> Unavailable:
    return Unavailable(
        f"The supervisor in {folder} ended while it deployed",
        f"try again: it goes on where it was; its log is {folder / LOG}",
    )


def _place(log: PredictionLog) -> str:
    return log.destination["MODELYARD_ARTIFACTS"]


def _address(port: int) -> str:
    return f"http://127.0.0.1:{port}"
