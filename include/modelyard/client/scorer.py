"""Asks a model that is loaded in a process of its own, in its own environment: ``client.worker``."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from modelyard.client import frames
from modelyard.client.child import confined

JSON = dict[str, Any]

_GRACE_SECONDS = 5.0


class ScorerError(RuntimeError):
    """The model can't be loaded, or can't answer: its own words."""


class Scorer:
    """A context manager around such a process.

    Args:
        python: the interpreter of the model's environment.
        model: the model directory.
        environment: of the process; ``client.child.environment`` makes one. Its PYTHONPATH needs the client's folder
            and the project's, whose code the model may refer to.
        hidden: files and folders it shall not read.
        module: what the process runs; another one answers for the model in another form.
    """

    def __init__(
        self,
        python: Path,
        model: Path,
        environment: Mapping[str, str],
        hidden: Sequence[Path],
        module: str = "modelyard.client.worker",
    ) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._connection = ours
            command: list[str | Path] = [
                python,
                "-P",
                "-m",
                module,
                model,
                "--fd",
                str(theirs.fileno()),
            ]
            self._process = subprocess.Popen(
                confined(command, hidden=hidden),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def predict(self, columns: Mapping[str, Sequence[Any]]) -> JSON:
        """Return the outputs by name for rows given by column: one (nested) list entry a row.

        Raises:
            ScorerError: the model can't be loaded, or can't answer these rows.
        """
        return self.ask({"columns": {name: list(values) for name, values in columns.items()}})

    def ask(self, request: JSON) -> JSON:
        """Return the outputs by name for a worker's request: columns, or ``{"tensor": {"data": …, "shape": […]}}``.

        Raises:
            ScorerError: likewise.
        """
        try:
            frames.send(self._connection, request)
            answer = frames.receive(self._connection)
        except OSError:
            answer = None
        if answer is None:
            code = self._process.wait()
            raise ScorerError(f"the model's process has ended (exit code {code}); what it said stands above")
        if "error" in answer:
            raise ScorerError(answer["error"])
        outputs: JSON = answer["outputs"]
        return outputs

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()  # the worker ends when there is nobody to answer
        try:
            self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
