"""The prediction log in the object store, read back: by model, environment, version and time."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from modelyard.monitoring.destination import prefix_of
from modelyard.serving.segment import SegmentName, hour_folder
from modelyard.store.artifacts import Backend

JSON = dict[str, Any]

# A segment lies in the hour of its first record. Its last one came before it was closed: model.yaml's
# `serving.prediction_log.seconds` is at most an hour.
_LONGEST_SEGMENT = timedelta(hours=1)
# It was begun when its first batch came to be written: after the answers in that.
_LATE = timedelta(minutes=1)
_GZIP = 31
_PIECE = 1024 * 1024
_MOST_LINE = 256 * 1024 * 1024


@dataclass(frozen=True)
class Prediction:
    """One answer of a model in production.

    Attributes:
        time: when it was given.
        request_id: the client's own, or the server's.
        version: of the model.
        route: that was asked.
        rows: how many were predicted.
        milliseconds: that it took, from the request's parsing to its answer.
        inputs, outputs: a list by name with a value a row; hidden ones are left out.
        entity: whom or what it is about, where the client has said so.
    """

    time: datetime
    request_id: str
    version: str
    route: str
    rows: int
    milliseconds: float
    inputs: dict[str, list[Any]]
    outputs: dict[str, list[Any]]
    entity: str | None = None

    @classmethod
    def from_json(cls, line: JSON) -> Prediction:
        """Return what a line of kind ``predictions`` says; KeyError or ValueError when it is none."""
        return cls(
            _moment(line["time"]),
            str(line["request_id"]),
            str(line["version"]),
            str(line["route"]),
            int(line["rows"]),
            int(line["microseconds"]) / 1000,
            dict(line["inputs"]),
            dict(line["outputs"]),
            line.get("entity"),
        )


@dataclass(frozen=True)
class Feedback:
    """What came true.

    Attributes:
        time: when it was told.
        version: that served then; the one that was asked is found by the request.
        request_id, row: of the prediction that it is about; row None for a request of one row.
        entity: whom or what it is about, where no request is named.
        truth: values by output; None for an event that has none of its own.
        happened: when it came true, where that was told.
        event: PredictionIO's event, as it came.
    """

    time: datetime
    version: str
    request_id: str | None
    row: int | None
    entity: str | None
    truth: dict[str, Any] | None
    happened: datetime | None
    event: JSON | None = None

    @classmethod
    def from_json(cls, line: JSON) -> Feedback:
        """Return what a line of kind ``feedback`` says; KeyError or ValueError when it is none."""
        happened = line.get("happened")
        return cls(
            _moment(line["time"]),
            str(line["version"]),
            line.get("request_id"),
            line.get("row"),
            line.get("entity"),
            line["truth"],
            None if happened is None else _moment(happened),
            line.get("event"),
        )


Kind = TypeVar("Kind", Prediction, Feedback)


class Segments:
    """What one model has answered in one environment.

    Args:
        store: the object store.
        model: its name.
        environment: where it is deployed.
        say: told of what cannot be read, with its path. It was written beside the model's own code, which may have
            written something else: the rest is read all the same.
    """

    def __init__(self, store: Backend, model: str, environment: str, say: Callable[[str], None]) -> None:
        self._store = store
        self._prefix = prefix_of(model, environment)
        self._say = say

    def predictions(self, since: datetime, until: datetime, version: int | None = None) -> Iterator[Prediction]:
        """Yield the answers from ``since`` up to, not including, ``until``; of one version, or of all.

        They come a segment after the other, as these were begun; not sorted by time beyond that.

        Raises:
            Unavailable, StoreError: the store cannot be reached, or refuses.
        """
        for path, line in self._lines("predictions", since, until, version):
            if (found := self._read(Prediction, path, line)) is not None and since <= found.time < until:
                yield found

    def feedback(self, since: datetime, until: datetime) -> Iterator[Feedback]:
        """Yield the feedback that was told from ``since`` up to, not including, ``until``; see ``predictions``."""
        for path, line in self._lines("feedback", since, until, None):
            if (found := self._read(Feedback, path, line)) is not None and since <= found.time < until:
                yield found

    def _read(self, kind: type[Kind], path: str, line: bytes) -> Kind | None:
        try:
            return kind.from_json(json.loads(line))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            self._say(f"{path} has a line that is no {kind.__name__.lower()}: {error!r}")
            return None

    def _lines(self, kind: str, since: datetime, until: datetime, version: int | None) -> Iterator[tuple[str, bytes]]:
        for path in self._paths(kind, since, until, version):
            lines = 0
            try:
                for line in _unpacked(self._store, path):
                    lines += 1
                    yield path, line
            except zlib.error as error:
                self._say(f"{path} is damaged after {lines} lines: {error}")

    def _paths(self, kind: str, since: datetime, until: datetime, version: int | None) -> Iterator[str]:
        """Yield the segments that may have lines of this time, by the time they were begun."""
        since, until = since.astimezone(UTC) - _LONGEST_SEGMENT, until + _LATE
        hour = since.replace(minute=0, second=0, microsecond=0)
        while hour < until:
            whole_day = hour.hour == 0 and hour + timedelta(days=1) <= until
            folder = f"{self._prefix}/{hour_folder(kind, hour)}"
            found = []
            for path in self._store.paths(folder.rpartition("/")[0] if whole_day else folder):
                name = SegmentName.parse(f"{kind}.{path.rpartition('/')[2]}")
                if name is None or not path.endswith(f"/{name.path}"):
                    self._say(f"{path} is no segment of a prediction log")
                elif version in (None, _number(name)) and since <= name.began < until:
                    found.append((name.began, path))
            yield from (path for _, path in sorted(found))
            hour += timedelta(days=1) if whole_day else timedelta(hours=1)


def _number(name: SegmentName) -> int | None:
    return int(name.version) if name.version.isdigit() else None


def _unpacked(store: Backend, path: str) -> Iterator[bytes]:
    """Yield the lines of a segment, a piece of it in memory at a time."""
    rest, whole = b"", True
    with store.open(path) as source:
        unpacker = zlib.decompressobj(_GZIP)
        while piece := source.read(_PIECE):
            while piece:
                rest += unpacker.decompress(piece, _PIECE)
                piece, whole = unpacker.unconsumed_tail, unpacker.eof
                if whole:
                    piece, unpacker = unpacker.unused_data, zlib.decompressobj(_GZIP)
                *lines, rest = rest.split(b"\n")
                yield from lines
                if len(rest) > _MOST_LINE:
                    raise zlib.error("a line has no end")
    if rest or not whole:
        raise zlib.error("it ends in the middle")


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)
