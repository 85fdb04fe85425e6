"""``Pipfile.lock``, as pipenv writes it: the default section, its hashes and markers kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from modelyard.environments.lock import Parsed, Pin
from modelyard.errors import Problem

_REMEDY = "write it anew by `pipenv lock`"


def read(path: Path) -> Parsed:
    """Read the default packages; those for development are not installed, and sources are those of the builder."""
    from packaging.markers import InvalidMarker, Marker
    from packaging.utils import canonicalize_name

    text = path.read_text("utf-8")
    try:
        document = json.loads(text)
        packages, meta = dict(document["default"]), dict(document.get("_meta", {}))
    except json.JSONDecodeError as error:
        return _broken(path, error.lineno, f"it is not JSON: {error.msg}")
    except (KeyError, TypeError, ValueError):
        return _broken(path, None, "it has no section 'default' of packages")
    pins, problems = [], []
    for name, entry in packages.items():
        line = _line_of(text, name)
        key = f"default.{name}"
        version = str(entry.get("version", "")) if isinstance(entry, dict) else ""
        if not version.startswith("==") or version.endswith("*"):
            remedy = "put a version of it into an index, and lock again: only such packages stay the same"
            problems.append(Problem(path.name, line, key, _what_it_is(entry), remedy))
            continue
        try:
            marker = str(Marker(entry["markers"])) if entry.get("markers") else None
        except InvalidMarker:
            problems.append(Problem(path.name, line, key, f"the marker {entry['markers']!r} can't be read", _REMEDY))
            continue
        hashes = tuple(sorted(found for found in entry.get("hashes", ()) if found.startswith("sha256:")))
        pins.append(Pin(str(canonicalize_name(name)), version.lstrip("="), marker, hashes))
    return Parsed(tuple(pins), tuple(problems), _python(meta.get("requires") or {}))


def _python(requires: dict[str, Any]) -> str | None:
    if full := requires.get("python_full_version"):
        return f"=={full}"
    version = requires.get("python_version")
    return None if version in (None, "*") else f"=={version}.*"


def _what_it_is(entry: object) -> str:
    if isinstance(entry, dict):
        for kind in ("git", "path", "file", "editable"):
            if kind in entry:
                return f"the package is taken from a {kind} source, which can change"
    return "the package has no version"


def _line_of(text: str, name: str) -> int | None:
    at = text.find(f'"{name}":', text.find('"default"'))
    return None if at < 0 else text.count("\n", 0, at) + 1


def _broken(path: Path, line: int | None, message: str) -> Parsed:
    return Parsed((), (Problem(path.name, line, "", message, _REMEDY),))
