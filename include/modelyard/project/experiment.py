"""The configuration of a project's experiment, told by the experiment itself in the project's own environment."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelyard.client import child
from modelyard.errors import Problem, ProjectError

_SECONDS = 300.0  # importing the slowest library from a cold disk takes one of the five minutes
_REFUSED = 65  # describe's own exit code for "no experiment"; its message is a sentence


def describe(folder: Path, entry: str, python: Path, hidden: Sequence[Path]) -> list[dict[str, Any]]:
    """Return ``[{"path", "type", "default", "doc"}, …]`` of the experiment in ``entry``; nothing is trained.

    The project's code runs in a process of its own, confined and without any credential.

    Args:
        folder: the project.
        entry: relative to it.
        python: the interpreter of the project's environment.
        hidden: files and folders that the project's process shall not read.

    Raises:
        ProjectError: the entry defines no experiment, or its code fails; with the end of its own trace.
    """
    with tempfile.TemporaryDirectory(prefix="modelyard-describe-") as temporary:
        home, client = Path(temporary, "home"), child.lay_client(Path(temporary, "client"))
        home.mkdir()
        answer = Path(temporary, "config.json")
        with answer.open("wb") as file:
            number = str(file.fileno())
            command = [str(python), "-P", "-m", "modelyard.client.describe", str(folder / entry), "--fd", number]
            try:
                done = subprocess.run(
                    child.confined(command, hidden=hidden),
                    cwd=folder,
                    env=child.environment(python, home, code=[client]),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=[file.fileno()],
                    timeout=_SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                message = f"Reading its configuration took more than {_SECONDS:.0f} s."
                remedy = "Do the work in the experiment's main function, not where the file is imported."
                raise ProjectError([Problem(entry, None, "", message, remedy)]) from error
        if done.returncode == 0:
            config: list[dict[str, Any]] = json.loads(answer.read_bytes())
            return config
    said = done.stdout.decode(errors="replace").strip().splitlines()
    if done.returncode == _REFUSED:
        message = said[-1] if said else "It defines no Sacred experiment."
        remedy = "Write: from sacred import Experiment; ex = Experiment('my-model')"
    else:
        message = "Its code fails when it is imported:\n" + os.linesep.join(f"    {line}" for line in said[-15:])
        remedy = "Correct it, or add what is missing to the locked packages."
    raise ProjectError([Problem(entry, None, "", message, remedy)])
