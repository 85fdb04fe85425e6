"""Outside a pipeline: starts the recording process, ``modelyard relay``, beside a plain ``python train.py``.

It is a process of Modelyard's own environment, which may be this one or any other on this machine.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from modelyard.client.relay import RelayError


@cache
def recorder(project: str) -> str:
    """Start the recording process for a project's folder, once, and return the path of the socket it listens on.

    It ends after this process: what it has to say (the run's number, the candidate's) comes before the shell's prompt.

    Raises:
        RelayError: there is a store, but no ``modelyard`` command that could write to it.
    """
    command = _command()
    folder = tempfile.mkdtemp(prefix="modelyard-")
    path = os.path.join(folder, "relay")  # noqa: PTH118
    environment = dict(os.environ)
    if command[0] != sys.executable:
        # It belongs to the project's environment; the command has its own.
        for variable in ("PYTHONPATH", "PYTHONHOME"):
            environment.pop(variable, None)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        # Bound here and handed on, it accepts from the first moment, and refuses when the process has died.
        listener.bind(path)
        listener.listen()
        process = subprocess.Popen(
            [*command, "relay", "--fd", str(listener.fileno()), "--project", project],
            stdin=subprocess.PIPE,
            env=environment,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # Ctrl-C is for the experiment: this process records that it was interrupted
        )
    atexit.register(_end, process, folder, os.getpid())
    return path


def _end(process: subprocess.Popen[bytes], folder: str, started_by: int) -> None:
    if os.getpid() != started_by:
        return  # a fork that ran its parent's exit functions
    if process.stdin is not None:
        process.stdin.close()  # tells it that no further run will come
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def _command() -> list[str]:
    if given := os.environ.get("MODELYARD_COMMAND"):
        return shlex.split(given)
    if all(importlib.util.find_spec(name) for name in ("click", "pymongo", "sacred")):
        return [sys.executable, "-m", "modelyard"]
    # The client alone, installed in a project's environment, brings a command that cannot run there.
    here = Path(sys.prefix, "bin").resolve()
    path = os.pathsep.join(entry for entry in os.get_exec_path() if Path(entry).resolve() != here)
    if found := shutil.which("modelyard", path=path):
        return [found]
    raise RelayError(
        "There is a model store, but the `modelyard` command that records runs in it is not on the PATH: install it "
        "(uv tool install 'modelyard[pipeline]'), name it in MODELYARD_COMMAND, or train with --unobserved"
    )
