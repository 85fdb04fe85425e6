"""The processes of a pipeline run's steps, watched on the machine that its pods run on."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Self

import psutil


class Watch(threading.Thread, ABC):
    """Looks again and again while its block runs; what at, ``look`` says.

    Args:
        pause: seconds between two looks.
    """

    def __init__(self, pause: float) -> None:
        super().__init__(daemon=True)
        self._pause = pause
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Look until it is over."""
        while not self._over.wait(self._pause):
            self.look()

    @abstractmethod
    def look(self) -> None:
        """Look once."""


def step_processes(run_id: str | None = None) -> Iterator[tuple[str, psutil.Process]]:
    """Yield each step that runs now with its process; of one pipeline run alone, where it is named."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words[1:3] == ["-m", "modelyard"] and "--pipeline-run" in words and run_id in (None, *words):
            yield words[words.index("step") + 1], process
