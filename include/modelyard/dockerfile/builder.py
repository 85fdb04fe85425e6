"""What builds an image of a Dockerfile: a program that Modelyard starts nothing of and gives no credential to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modelyard.images import Image


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
    """One way to build: a container beside the step in a cluster, an engine elsewhere."""

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
