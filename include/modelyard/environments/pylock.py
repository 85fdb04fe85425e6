"""``pylock.toml`` (PEP 751), validated by ``packaging``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.environments.lock import Parsed, Pin
from modelyard.errors import Problem

if TYPE_CHECKING:
    from packaging.pylock import Package

_REMEDY = "write it anew by the tool that made it"


def read(path: Path) -> Parsed:
    """Read the packages that are installed when no extra and no group is asked for."""
    from packaging.pylock import Pylock, PylockValidationError

    text = path.read_text("utf-8")
    try:
        lock = Pylock.from_dict(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        return Parsed((), (Problem(path.name, None, "", f"it is not TOML: {error}", _REMEDY),))
    except PylockValidationError as error:
        return Parsed((), (Problem(path.name, None, error.context or "", error.message, _REMEDY),))
    pins, problems = [], []
    for package in lock.packages:
        reason = _unfit(package)
        if reason is not None:
            line = _line_of(text, str(package.name))
            remedy = "put a version of it with wheels into an index, and lock again"
            problems.append(Problem(path.name, line, str(package.name), reason, remedy))
            continue
        hashes = {f"sha256:{wheel.hashes['sha256']}" for wheel in package.wheels or () if "sha256" in wheel.hashes}
        marker = None if package.marker is None else str(package.marker)
        pins.append(Pin(str(package.name), str(package.version), marker, tuple(sorted(hashes))))
    python = None if lock.requires_python is None else str(lock.requires_python)
    return Parsed(tuple(pins), tuple(problems), python)


def _unfit(package: Package) -> str | None:
    for kind in ("vcs", "directory", "archive"):
        if getattr(package, kind) is not None:
            return f"the package is taken from a {kind} source"
    if package.version is None:
        return "the package has no version"
    if not package.wheels:
        return "the package has no wheel"
    if package.marker is not None and ("extras" in str(package.marker) or "dependency_groups" in str(package.marker)):
        return "the package belongs to an extra or a group"
    return None


def _line_of(text: str, name: str) -> int | None:
    at = text.find(f'name = "{name}"')
    return None if at < 0 else text.count("\n", 0, at) + 1
