"""What builds an image of a Dockerfile: a program that Modelyard starts nothing of and gives no credential to."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modelyard.errors import EnvironmentBuildError
from modelyard.images import Image

ENGINE = "engine"  # what a step is told whose builder is the engine that DOCKER_HOST names; else it is a folder

# How a line of the Dockerfile is announced: by Buildah and by a Docker engine's own builder, and by ours of BuildKit's.
_STEP = re.compile(r"STEP (\d+/\d+ ?: |\[)", re.IGNORECASE)
_KEPT_LINES = 12  # of what a failed line said


@dataclass(frozen=True)
class Build:
    """What is to be built.

    Attributes:
        context: the folder that its COPY lines read from.
        dockerfile: the file itself.
        bases: the images that it names, by that name; nothing else of a registry is used.
    """

    context: Path
    dockerfile: Path
    bases: Mapping[str, Image]


class Builder(Protocol):
    """One way to build: a container beside the step in a cluster, the engine of a Docker host."""

    def build(self, what: Build, log: Callable[[str], None]) -> Image:
        """Return the image; its layers can be read until the step ends.

        Args:
            what: is to be built.
            log: given each line of the build as it comes.

        Raises:
            EnvironmentBuildError: a line of the Dockerfile fails: the message is that line and what it said last.
            Unavailable: the builder has ended; another try may end otherwise.
        """
        ...


class BuildLog:
    """Hands on the lines of a build, and keeps the line of the Dockerfile that runs with what it said last.

    Args:
        log: given each line.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._said: list[str] = []

    def tell(self, line: str) -> None:
        """Hand on one line."""
        self._log(line)
        if _STEP.match(line):
            self._said.clear()
        self._said.append(line)
        del self._said[1:-_KEPT_LINES]

    @property
    def last(self) -> str:
        """What was said last, from the line of the Dockerfile on."""
        return "\n".join(self._said)

    def failure(self, otherwise: str) -> EnvironmentBuildError:
        """Return the reason why the Dockerfile cannot be built.

        Args:
            otherwise: stands for the reason when nothing was said.
        """
        said = self._said or [otherwise]
        return EnvironmentBuildError(
            f"The Dockerfile cannot be built: {said[0]}\n" + "\n".join(said[1:] or ["it said nothing"]),
            "correct that line; the whole build is in this task's log",
        )
