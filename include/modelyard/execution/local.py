"""Execution mode `local`: a step as a process of this machine that ends with its parent."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from modelyard.client.child import confined
from modelyard.credential_places import credential_places
from modelyard.deployment import ClusterAccess
from modelyard.execution.command import Command, ImageBeside
from modelyard.execution.credentials import credentials_line
from modelyard.process import die_with_parent
from modelyard.store import StoreAddress
from modelyard.supply_chain import SigningKey

Emit = Callable[[str], None]

_STOP_SECONDS = 10.0


class LocalStep:
    """One try of a step on this machine.

    ``kill()`` may be called from another thread or a signal handler.
    """

    def __init__(
        self,
        command: Command,
        address: StoreAddress,
        home: Path,
        emit: Emit,
        git: tuple[str, str] | None = None,
        cluster: ClusterAccess | None = None,
        signing: SigningKey | None = None,
        builder: str | None = None,
    ) -> None:
        self._command = command
        self._address = address
        self._git = git
        self._cluster = cluster
        self._signing = signing
        self._builder = builder
        self._home = home
        self._emit = emit
        self._process: subprocess.Popen[str] | None = None

    def run(self) -> int:
        """Start the images beside the step, then the step; return its exit code. Its lines go to ``emit``."""
        with ExitStack() as stack:
            beside = {
                name: stack.enter_context(self._serving(name, image)) for name, image in self._command.beside.items()
            }
            return self._step(beside)

    def kill(self) -> None:
        """End the step: SIGTERM, and SIGKILL when it does not leave."""
        if self._process is not None and self._process.poll() is None:
            _end(self._process)

    def _step(self, beside: dict[str, str]) -> int:
        command = self._command
        arguments = [sys.executable, "-m", "modelyard", *command.arguments(beside)]
        arguments += ["--address", "-", *(["--builder", self._builder] if self._builder else [])]
        # The address goes through a pipe: an environment can be read by every process of the same user.
        with subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=_environment(self._home),
            preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - prctl alone, loaded before
        ) as process:
            self._process = process
            assert process.stdin is not None  # noqa: S101
            assert process.stdout is not None  # noqa: S101
            try:
                with process.stdin as pipe:
                    pipe.write(credentials_line(self._address, self._git, self._cluster, self._signing))
                for line in process.stdout:
                    self._emit(line.rstrip("\n"))
                return process.wait()
            finally:
                _end(process)

    @contextmanager
    def _serving(self, name: str, image: ImageBeside) -> Iterator[str]:
        """Serve ``image`` on a free loopback port while the block runs; yields its base URL at once, ready or not."""
        from modelyard.images import open_images
        from modelyard.images.unpack import unpack_model_image

        root = unpack_model_image(open_images(self._address, self._home), image.repository, image.digest, self._home)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.set_inheritable(True)
            process = subprocess.Popen(
                confined(
                    [
                        root / "server" / "bin" / "python",
                        *("-I", "-m", "modelyard.serving", "--root", root, "--fd", str(listener.fileno())),
                    ],
                    hidden=credential_places(self._home),
                ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                cwd=root,
                pass_fds=[listener.fileno()],
                env={
                    "PATH": os.defpath,
                    "LANG": "C.UTF-8",
                    "MODELYARD_MODEL_NAME": image.model,
                    "MODELYARD_MODEL_VERSION": str(image.version),
                    "MODELYARD_IMAGE_DIGEST": image.digest,
                },
            )
            assert process.stdout is not None  # noqa: S101
            reader = threading.Thread(target=self._relay, args=(name, process.stdout), daemon=True)
            reader.start()
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                _end(process)
                reader.join()

    def _relay(self, name: str, output: IO[str]) -> None:
        for line in output:
            if not _is_access_record(line):  # a line a request would bury the step's own
                self._emit(f"[{name}] {line.rstrip()}")


def _environment(home: Path) -> dict[str, str]:
    """Return this process's environment without what is Airflow's or a credential of Modelyard's.

    AIRFLOW_HOME stays: the step hides what lies there from the project's code. So does the name of the runner image,
    for servers that are deployed to a cluster.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ("AIRFLOW_HOME", "MODELYARD_RUNNER_IMAGE")
        or not name.lstrip("_").startswith(("AIRFLOW", "MODELYARD"))
    }
    return kept | {"MODELYARD_HOME": str(home), "PYTHONUNBUFFERED": "1"}


def _is_access_record(line: str) -> bool:
    """Return whether a server has noted a request with this line: see ``serving.access_log``."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # a model prints what it likes
        return False
    return isinstance(record, dict) and record.keys() >= {"request_id", "method", "path", "status"}


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
