"""``requirements.txt`` with pins, as ``pip freeze``, ``pip-compile`` and ``uv pip compile`` write it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from modelyard.environments.lock import Parsed, Pin
from modelyard.errors import Problem

_HASH = re.compile(r"--hash[= ](\S+)")
_COMMENT = re.compile(r"(^|\s)#.*$")


def read(path: Path) -> Parsed:
    """Read a requirements file; every line that is no pin is a problem."""
    return parse(path.read_text("utf-8"), path.name)


def parse(text: str, name: str) -> Parsed:
    """Read the text of a requirements file; ``name`` is for messages."""
    pins, problems = [], []
    for number, line in _logical_lines(text):
        try:
            pins.append(_pin(line))
        except _NoPinError as error:
            problems.append(Problem(name, number, "", str(error), error.remedy))
    return Parsed(tuple(pins), tuple(problems))


class _NoPinError(Exception):
    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their continuations joined and comments gone, each with the number of its first."""
    start, joined = 0, ""
    for number, line in enumerate([*text.splitlines(), ""], 1):
        start = start or number
        line = _COMMENT.sub("", line).rstrip()
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        joined = (joined + line).strip()
        if joined:
            yield start, joined
        start, joined = 0, ""


def _pin(line: str) -> Pin:
    from packaging.markers import Marker
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    if line.startswith("-"):
        raise _refused_option(line)
    hashes = tuple(sorted(_HASH.findall(line)))
    text = _HASH.sub("", line).strip()
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise _NoPinError(
            f"'{text}' is no requirement: {str(error).splitlines()[0]}", "write it as name==version"
        ) from error
    name = str(canonicalize_name(requirement.name))
    marker = None if requirement.marker is None else str(Marker(str(requirement.marker)))
    if requirement.url is not None:
        return Pin(name, None, marker, *_url(name, requirement.url, hashes))
    pins = [one for one in requirement.specifier if one.operator in ("==", "===") and not one.version.endswith("*")]
    if len(pins) != 1 or len(requirement.specifier) != 1:
        raise _NoPinError(
            f"'{text}' is not pinned to one version",
            f"pin it ({name}==…), best by `uv pip compile --generate-hashes`, which pins what it needs too",
        )
    if weak := [found for found in hashes if not found.startswith("sha256:")]:
        hashes = tuple(found for found in hashes if found not in weak)
    return Pin(name, pins[0].version, marker, hashes)


def _url(name: str, url: str, hashes: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    parts = urlsplit(url)
    found = dict(item.partition("=")[::2] for item in parts.fragment.split("&") if item)
    if "sha256" in found:
        hashes = tuple(sorted({*hashes, f"sha256:{found['sha256']}"}))
    if not parts.path.endswith(".whl") or parts.scheme not in ("http", "https") or not hashes:
        raise _NoPinError(
            f"'{name}' comes from a place that can change: {parts.scheme}://{parts.hostname or ''}{parts.path}",
            "use a version from a package index, or the https address of a wheel with #sha256=…",
        )
    if parts.query or "@" in parts.netloc:
        raise _NoPinError(
            f"the address of '{name}' has a login or a query: {parts.scheme}://{parts.hostname}{parts.path}",
            "leave it out, as a lock is kept and shown; logins are set where environments are built (NETRC)",
        )
    return hashes, url.partition("#")[0]


def _refused_option(line: str) -> _NoPinError:
    option = re.split(r"[= ]", line, maxsplit=1)[0]
    if option in ("-r", "--requirement", "-c", "--constraint"):
        return _NoPinError("other files are not read from a lock", "put all pins into this file")
    if option in ("-e", "--editable"):
        return _NoPinError("an editable package can't be locked", "build a wheel of it and put it into an index")
    return _NoPinError(
        f"the option '{option}' has no place in a lock",
        "leave it out; package indexes are set where environments are built (uv.toml, UV_INDEX_URL)",
    )
