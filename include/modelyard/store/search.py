"""How versions are searched: the fields a version is found by, their indexes, and pages of bounded work.

Metrics, parameters and tags have names that nobody knows beforehand, so they are kept as values of array fields with
one multikey index each (MongoDB's attribute pattern).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from modelyard.errors import RequestError
from modelyard.store.codec import Document
from modelyard.store.records import ModelVersion

if TYPE_CHECKING:
    from modelyard.store.mongo import Documents

INDEXES = (
    (("order", 1),),
    (("name", 1), ("order", 1)),
    (("facets", 1), ("order", 1)),
    (("metric_values.name", 1), ("metric_values.value", 1)),
    (("commit", 1), ("order", 1)),
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME_DIGITS = 20  # of microseconds, in front of each place in ``order``
_FIRST_WINDOW = 86_400_000_000  # a day, in microseconds
_WINDOW_GROWTH = 4
_LONGEST_VALUE = 200  # characters of a parameter's value as JSON; nobody searches for a longer one


@dataclass(frozen=True)
class Query:
    """What to look for.

    Attributes:
        before: the place in ``order`` that all matches are before; None for no such bound.
        since: the oldest time looked at, in microseconds.
    """

    clauses: Document
    before: str | None
    since: int

    @property
    def selective(self) -> bool:
        """Whether an index finds few enough documents by the clauses alone: no window of time is needed."""
        return not self.clauses.keys().isdisjoint({"_id", "commit"}) or (
            isinstance(self.clauses.get("name"), str) and len(self.clauses) > 1
        )


def fields(version: ModelVersion) -> Document:
    """Return the fields a version is found by, beside those it has."""
    return {
        "facets": sorted({*map(_tag, version.tags), *_parameters(version.config)}),
        "metric_values": [{"name": name, "value": float(value)} for name, value in sorted(version.metrics.items())],
    }


def order(version: ModelVersion, number: int) -> str:
    """Return the place of a version among all: by time, then name and number. Text, so that it compares as it reads."""
    return f"{place(microseconds(version.created_at))}:{version.name}:{number:010d}"


def place(time: int) -> str:
    """Return the first place that a version of this time (in microseconds) can have."""
    return f"{time:0{_TIME_DIGITS}d}"


def microseconds(time: datetime) -> int:
    """Return a time in microseconds since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def cursor(after: str) -> str:
    """Return the place that a page's ``after`` stands for.

    Raises:
        RequestError: it is no such text.
    """
    if not re.fullmatch(r"\d{20}:[^:]+:\d{10}", after):
        raise RequestError("The page asked for does not exist", "start again at the first page")
    return after


def clauses(
    name: str | Collection[str] | None,
    tag: str | None,
    metric: Mapping[str, tuple[float | None, float | None]],
    parameter: Mapping[str, object],
    commit: str | None,
    state: str | None,
    live: list[str] | None,
) -> Document:
    """Return the conditions of ``Versions.find`` as a query.

    Raises:
        RequestError: the commit is no hexadecimal prefix, or there is no such state.
    """
    query: Document = {}
    if live is not None:
        query["_id"] = {"$in": live}
    if commit is not None:
        if not re.fullmatch(r"[0-9a-f]{1,64}", commit):
            raise RequestError(f"'{commit}' does not begin a commit hash", "give its first characters, of 0-9 and a-f")
        query["commit"] = {"$gte": commit, "$lt": commit + "g"}
    if name is not None:
        names = [name] if isinstance(name, str) else sorted(name)
        query["name"] = names[0] if len(names) == 1 else {"$in": names}
    facets = [_tag(tag)] if tag is not None else []
    facets += [_parameter(path, value) for path, value in parameter.items()]
    if facets:
        query["facets"] = facets[0] if len(facets) == 1 else {"$all": facets}
    ranges = [{"$elemMatch": _metric(wanted, *bounds)} for wanted, bounds in metric.items()]
    if ranges:
        query["metric_values"] = ranges[0] if len(ranges) == 1 else {"$all": ranges}
    if state in {"candidate", "released"}:
        query["image_digest"] = None if state == "candidate" else {"$ne": None}
    elif state not in {None, "live"}:
        raise RequestError(f"There is no state '{state}'", "ask for candidate, released or live")
    return query


def page(versions: Documents, query: Query, limit: int) -> list[Document]:
    """Return the newest matches.

    They are read in windows of time, each wider than the one before: a server that sorts all matches before it applies
    the limit reads little more than the page, and one that walks the index in order loses nothing.
    """
    found: list[Document] = []
    for window in _windows(query):
        wanted = {**query.clauses, "order": window} if query.selective else {"order": window, **query.clauses}
        found += versions.find(wanted, [("order", -1)], limit - len(found))
        if len(found) == limit:
            break
    return found


def _windows(query: Query) -> Iterator[Document]:
    before, width = query.before, _FIRST_WINDOW
    while True:
        newest = microseconds(datetime.now(UTC)) if before is None else int(before[:_TIME_DIGITS])
        low = query.since if query.selective else max(newest - width, query.since)
        window = {"$gte": place(low)}
        yield window if before is None else window | {"$lt": before}
        if low <= query.since:
            return
        before, width = place(low), width * _WINDOW_GROWTH


def _parameters(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _parameters(value, f"{prefix}{name}.")
        elif not isinstance(value, list) and len(facet := _parameter(f"{prefix}{name}", value)) <= _LONGEST_VALUE:
            yield facet


def _parameter(path: str, value: object) -> str:
    """Return a parameter as one searchable text; 1 and 1.0 are the same."""
    plain = int(value) if isinstance(value, float) and value.is_integer() else value
    return f"parameter:{path}={json.dumps(plain)}"


def _tag(tag: str) -> str:
    return f"tag:{tag}"


def _metric(name: str, lowest: float | None, highest: float | None) -> Document:
    bounds = {operator: bound for operator, bound in (("$gte", lowest), ("$lte", highest)) if bound is not None}
    return {"name": name, "value": bounds} if bounds else {"name": name}
