"""Expectation suites, as far as a file alone can be judged.

Great Expectations takes seconds to import, so its own reading of a suite is left to the `validate` step; the names of
its expectations are taken from its files.
"""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from modelyard.errors import Problem
from modelyard.project.load import nearest

FOLDER = "expectations"


def check_suites(folder: Path, data: Iterable[str] | None) -> list[Problem]:
    """Return the problems of ``expectations/*.json``.

    Args:
        folder: the project.
        data: names of the data sets there are; None when the code makes its own (``log_data``), whose names are
            known only once it has run.
    """
    problems: list[Problem] = []
    names = None if data is None else list(data)
    for path in sorted((folder / FOLDER).glob("*")):
        name = f"{FOLDER}/{path.name}"
        if path.suffix != ".json":
            problems.append(Problem(name, None, "", "This is no JSON file.", "A suite is expectations/DATA-SET.json."))
            continue
        if names is not None and path.stem not in names:
            message = f"It is named after no data set: there is no '{path.stem}' in model.yaml."
            problems.append(Problem(name, None, "", message, nearest(path.stem, names)))
        problems += _check_suite(path, name)
    return problems


def _check_suite(path: Path, name: str) -> list[Problem]:
    remedy = 'A suite is {"name": …, "expectations": [{"type": "expect_…", "kwargs": {…}}]}.'
    try:
        suite = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        return [Problem(name, error.lineno, "", f"This is no JSON: {error.msg}.", remedy)]
    except (OSError, UnicodeDecodeError) as error:
        return [Problem(name, None, "", f"It cannot be read: {error}", remedy)]
    if not isinstance(suite, dict) or not isinstance(suite.get("expectations"), list):
        return [Problem(name, None, "", "It is no suite of Great Expectations 1.x: no list `expectations`.", remedy)]
    if not isinstance(suite.get("name"), str):
        return [Problem(name, None, "name", "is missing.", remedy)]
    return list(_wrong_expectations(suite["expectations"], name))


def _wrong_expectations(expectations: list[Any], name: str) -> Iterator[Problem]:
    known = _expectation_types()
    for index, item in enumerate(expectations):
        key = f"expectations.{index}"
        if not isinstance(item, dict) or not isinstance(item.get("type"), str):
            older = isinstance(item, dict) and "expectation_type" in item
            message = "has no `type`" + (": it is of a version before 1.0." if older else ".")
            yield Problem(name, None, key, message, "Write `type` (formerly `expectation_type`) and `kwargs`.")
        elif not isinstance(item.get("kwargs", {}), dict):
            yield Problem(name, None, f"{key}.kwargs", "is no object.", 'For example {"column": "age"}.')
        elif known and item["type"] not in known:
            message = f"Great Expectations has no '{item['type']}'."
            yield Problem(name, None, f"{key}.type", message, nearest(item["type"], known))


@functools.cache
def _expectation_types() -> frozenset[str]:
    """Return the names of the expectations there are; empty where Great Expectations is not installed."""
    spec = importlib.util.find_spec("great_expectations")
    if spec is None or not spec.submodule_search_locations:
        return frozenset()
    core = Path(spec.submodule_search_locations[0]) / "expectations" / "core"
    return frozenset({path.stem for path in core.glob("*expect*.py")})
