"""What a Docker engine tells of a build by BuildKit, as lines; and BuildKit's cache, of which nothing is to stay.

The engine's answer has protocol buffers in it, ``StatusResponse`` of BuildKit's ``api/services/control/control.proto``:
steps (with name, start, end and error) and pieces of what they print, of several steps at once where stages are
independent. So a line that follows one of another step has its own step before it again.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker import APIClient

TRACE = "moby.buildkit.trace"  # the id of such records

_STEPS, _PRINTED = 1, 3
_ID, _NAME, _STARTED, _ENDED, _ERROR = 1, 3, 5, 6, 7  # of a step
_TEXT = 4  # of what it prints
_LENGTHS = {1: 8, 5: 4}  # by wire type


@dataclass
class _Step:
    name: str
    rest: str = ""  # of a line that has not ended


class Trace:
    """The records of one build, in their order."""

    def __init__(self) -> None:
        self._steps: dict[bytes, _Step] = {}
        self._current: _Step | None = None

    def lines(self, record: str) -> Iterator[str]:
        """Yield the lines that one more record completes."""
        for kind, value in _fields(base64.b64decode(record)):
            if kind not in (_STEPS, _PRINTED) or not isinstance(value, bytes):
                continue
            found = {number: content for number, content in _fields(value) if isinstance(content, bytes)}
            step = self._steps.setdefault(found[_ID], _Step(found.get(_NAME, b"").decode("utf-8", "replace")))
            *lines, step.rest = (step.rest + found.get(_TEXT, b"").decode("utf-8", "replace")).split("\n")
            if kind == _STEPS and _ENDED in found and step.rest:
                lines, step.rest = [step.rest], ""
            if lines or (kind == _STEPS and (_STARTED in found) > (_ENDED in found)) or found.get(_ERROR):
                yield from self._turn_to(step)
            yield from lines

    def _turn_to(self, step: _Step) -> Iterator[str]:
        if step is not self._current and step.name.startswith("[") and not step.name.startswith("[internal]"):
            self._current = step
            yield f"STEP {step.name}"


def cached(client: APIClient) -> set[str]:
    """Return the ids of what BuildKit's cache has."""
    return {one["ID"] for one in client.df()["BuildCache"] or ()}


def forget(client: APIClient, before: set[str]) -> None:
    """Remove from BuildKit's cache what it did not have ``before``; of others' builds it is their cache alone."""
    left: set[str] = set()
    while (new := cached(client) - before) != left:  # what lies below something goes after it
        left = new
        for one in new:
            client.prune_builds(filters={"id": one}, all=True)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field: https://protobuf.dev/programming-guides/encoding."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        length = _LENGTHS.get(wire, 0)
        if wire == 2:
            length, at = _varint(message, at)
        yield number, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
