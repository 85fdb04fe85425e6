"""The images that a Dockerfile names: all that its build takes from registries.

They are fetched before it, by who has the registry's account. What is not found here (a name that an ``ARG`` without a
default would complete) is refused, as the builder has no account to fetch it by.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from modelyard.errors import Problem, ProjectError

# What BuildKit would fetch to read the file with; it is the engine's own that does.
_FRONTEND = re.compile(r"#\s*syntax\s*=.*", re.IGNORECASE)
_ESCAPE = re.compile(r"#\s*escape\s*=\s*(.)", re.IGNORECASE)
_HEREDOC = re.compile(r"<<-?([\"']?)(\w+)\1")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^}]*))?\}|(\w+))")
_FROM_FLAG = re.compile(r"--from=(\S+)")
_MOUNT_FROM = re.compile(r"--mount=\S*?\bfrom=([^,\s]+)")
_WITH_HEREDOC = ("RUN", "COPY", "ADD")
_SCRATCH = "scratch"


@dataclass(frozen=True)
class _Named:
    """Where an image is named: in these lines, as ``word``, which stands for ``image``."""

    lines: range
    word: str
    image: str


def named_images(dockerfile: str, name: str) -> tuple[str, ...]:
    """Return the images' names, each once, as the Dockerfile writes them with its ARGs' defaults put in.

    Args:
        dockerfile: its text.
        name: of the file, for the message.

    Raises:
        ProjectError: a name is not complete, or there is no FROM.
    """
    return tuple(dict.fromkeys(named.image for named in _named(dockerfile, name)))


def renamed(dockerfile: str, names: Mapping[str, str]) -> str:
    """Return a Dockerfile with other names for its images, every line where it was; one that names a frontend, none.

    Args:
        dockerfile: its text.
        names: the new ones, by those that :func:`named_images` returned.
    """
    lines = dockerfile.splitlines()
    for named in _named(dockerfile, ""):
        # Behind white space in a FROM, behind the flag elsewhere; the first one: a stage may have the same name.
        written = re.compile(rf"(\s|from=){re.escape(named.word)}(?=[\s,]|$)")
        for number in named.lines:
            lines[number], found = written.subn(rf"\g<1>{names[named.image]}", lines[number], count=1)
            if found:
                break
    return "\n".join(_FRONTEND.sub("#", line) if number == 0 else line for number, line in enumerate(lines)) + "\n"


def _named(dockerfile: str, name: str) -> Iterator[_Named]:
    arguments: dict[str, str] = {}
    stages = {_SCRATCH}
    begun = False
    for lines, instruction, value in _instructions(dockerfile):
        if instruction == "ARG" and not begun:
            for argument, default in _defaults(value, lines, name):
                arguments[argument] = _complete(default, arguments, lines, name)
            continue
        begun = begun or instruction == "FROM"
        words = [word for word in value.split() if not word.startswith("--")]
        known = arguments if instruction == "FROM" else {}
        for word in words[:1] if instruction == "FROM" else _other_stages(instruction, value):
            image = _complete(word, known, lines, name)
            if image.lower() not in stages:
                yield _Named(lines, word, image)
        if instruction == "FROM" and len(words) == 3:
            stages.add(words[2].lower())
    if not begun:
        raise _incomplete(range(1), name, "It has no FROM.")


def _defaults(value: str, lines: range, name: str) -> Iterator[tuple[str, str]]:
    """Yield the ARGs of one instruction that have a default: it may declare several."""
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise _incomplete(lines, name, f"ARG {value} cannot be read: {error}.") from error
    for word in words:
        argument, is_set, default = word.partition("=")
        if is_set:
            yield argument, default


def _other_stages(instruction: str, value: str) -> list[str]:
    """Return what a COPY, an ADD or a RUN takes files from: stages by name, or images."""
    flags = {"COPY": _FROM_FLAG, "ADD": _FROM_FLAG, "RUN": _MOUNT_FROM}.get(instruction)
    return [] if flags is None else [found for found in flags.findall(value) if not found.isdigit()]


def _instructions(dockerfile: str) -> Iterator[tuple[range, str, str]]:
    """Yield lines, instruction and the rest, lines that go on put together; the text of a heredoc is none."""
    lines = dockerfile.splitlines()
    directive = _ESCAPE.match(lines[0]) if lines else None
    escape = directive[1] if directive else "\\"
    text, start, until = "", 0, ""
    for number, line in enumerate(lines):
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
        yield range(start, number + 1), word.upper(), value.strip()


def _complete(text: str, arguments: dict[str, str], lines: range, name: str) -> str:
    def value(match: re.Match[str]) -> str:
        variable = match[1] or match[3]
        if variable in arguments:
            return arguments[variable]
        if match[2] is not None:
            return str(match[2])
        raise _incomplete(lines, name, f"'{text}' names no image: {variable} has no value.")

    return _VARIABLE.sub(value, text)


def _incomplete(lines: range, name: str, message: str) -> ProjectError:
    remedy = "Write the image's name there, or give an ARG before the first FROM a default."
    return ProjectError([Problem(name, lines.start + 1, "", message, remedy)])
