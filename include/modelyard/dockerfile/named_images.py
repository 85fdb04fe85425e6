"""The images that a Dockerfile names: all that its build takes from registries.

They are fetched before it, by who has the registry's account. What is not found here (a name that an ``ARG`` without a
default would complete) is refused, as the builder has no account to fetch it by.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from modelyard.errors import Problem, ProjectError

_ESCAPE = re.compile(r"#\s*escape\s*=\s*(.)", re.IGNORECASE)
_HEREDOC = re.compile(r"<<-?([\"']?)(\w+)\1")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^}]*))?\}|(\w+))")
_FROM_FLAG = re.compile(r"--from=(\S+)")
_MOUNT_FROM = re.compile(r"--mount=\S*?\bfrom=([^,\s]+)")
_WITH_HEREDOC = ("RUN", "COPY", "ADD")
_SCRATCH = "scratch"


def named_images(dockerfile: str, name: str) -> tuple[str, ...]:
    """Return the images' names, each once, as the Dockerfile writes them with its ARGs' defaults put in.

    Args:
        dockerfile: its text.
        name: of the file, for the message.

    Raises:
        ProjectError: a name is not complete, or there is no FROM.
    """
    found: dict[str, None] = {}
    arguments: dict[str, str] = {}
    stages = {_SCRATCH}
    begun = False
    for line, instruction, value in _instructions(dockerfile):
        if instruction == "ARG" and not begun:
            argument, is_set, default = value.partition("=")
            if is_set:
                arguments[argument.strip()] = _complete(default.strip().strip("\"'"), arguments, line, name)
            continue
        begun = begun or instruction == "FROM"
        words = [word for word in value.split() if not word.startswith("--")]
        known = arguments if instruction == "FROM" else {}
        named = words[:1] if instruction == "FROM" else _other_stages(instruction, value)
        for image in (_complete(word, known, line, name) for word in named):
            if image.lower() not in stages:
                found[image] = None
        if instruction == "FROM" and len(words) == 3:
            stages.add(words[2].lower())
    if not begun:
        raise _incomplete(1, name, "It has no FROM.")
    return tuple(found)


def _other_stages(instruction: str, value: str) -> list[str]:
    """Return what a COPY, an ADD or a RUN takes files from: stages by name, or images."""
    flags = {"COPY": _FROM_FLAG, "ADD": _FROM_FLAG, "RUN": _MOUNT_FROM}.get(instruction)
    return [] if flags is None else [found for found in flags.findall(value) if not found.isdigit()]


def _instructions(dockerfile: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, instruction and the rest, lines that go on put together; the text of a heredoc is none."""
    lines = dockerfile.splitlines()
    directive = _ESCAPE.match(lines[0]) if lines else None
    escape = directive[1] if directive else "\\"
    text, start, until = "", 0, ""
    for number, line in enumerate(lines, 1):
        if until:
            until = "" if line.strip() == until else until
            continue
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        start = start if text else number
        if line.rstrip().endswith(escape):
            text += line.rstrip()[: -len(escape)] + " "
            continue
        word, _, value = (text + line).strip().partition(" ")
        text = ""
        if word.upper() in _WITH_HEREDOC and (heredoc := _HEREDOC.search(value)):
            until = heredoc[2]
        yield start, word.upper(), value.strip()


def _complete(text: str, arguments: dict[str, str], line: int, name: str) -> str:
    def value(match: re.Match[str]) -> str:
        variable = match[1] or match[3]
        if variable in arguments:
            return arguments[variable]
        if match[2] is not None:
            return str(match[2])
        raise _incomplete(line, name, f"'{text}' names no image: {variable} has no value.")

    return _VARIABLE.sub(value, text)


def _incomplete(line: int, name: str, message: str) -> ProjectError:
    remedy = "Write the image's name there, or give an ARG before the first FROM a default."
    return ProjectError([Problem(name, line, "", message, remedy)])
