""".dockerignore: which files of a project its image's build is given, and so which make another image when they change.

As https://docs.docker.com/build/concepts/context/#dockerignore-files has it: a pattern a line, matched from the root
of the project, ``**`` for any number of folders, ``!`` for an exception; the last pattern that matches counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath

from modelyard.errors import Problem, ProjectError

FILE = ".dockerignore"


def ignoring(text: str) -> Callable[[PurePosixPath], bool]:
    """Return what tells of a file, by its path in the project, whether it is left out.

    Raises:
        ProjectError: a line is no pattern.
    """
    lines = enumerate(text.splitlines(), 1)
    rules = [rule for number, line in lines if (rule := _rule(line, number)) is not None]

    def is_ignored(path: PurePosixPath) -> bool:
        ignored = False
        for pattern, leaves_out in rules:
            # A pattern that matches a folder holds for all that is in it.
            if leaves_out != ignored and any(pattern.fullmatch(str(part)) for part in (path, *path.parents)):
                ignored = leaves_out
        return ignored

    return is_ignored


def _rule(line: str, number: int) -> tuple[re.Pattern[str], bool] | None:
    line = line.strip()
    if not line or line.startswith("#"):
        return None
    leaves_out = not line.startswith("!")
    path = PurePosixPath("/", line.removeprefix("!").strip())
    parts = [part for part in path.parts[1:] if part != "."]
    try:
        return None if not parts else (re.compile(_expression(parts)), leaves_out)
    except re.error as error:
        remedy = "correct what is in its brackets: a range begins with the smaller character"
        raise ProjectError([Problem(FILE, number, "", f"'{line}' is no pattern: {error}", remedy)]) from error


def _expression(parts: list[str]) -> str:
    expression = ""
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            expression += ".*" if last else "(?:.*/)?"
        else:
            expression += _of_a_name(part) + ("" if last else "/")
    return expression


def _of_a_name(part: str) -> str:
    translated = {"*": "[^/]*", "?": "[^/]"}
    pieces = re.findall(r"\[[^]]+\]|\\.|.", part)
    return "".join(
        piece
        if piece.startswith("[") and len(piece) > 1
        else translated.get(piece, re.escape(piece.removeprefix("\\")))
        for piece in pieces
    )
