"""Which segments are looked at for a time, a version, a kind."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from modelyard.monitoring.segments import Segments
from modelyard.serving.segment import SegmentName, compressed
from modelyard.store.folder import Folder

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Listed(Folder):
    """Notes what is listed and what is read: both are requests to an object store."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.listed: list[str] = []

    def paths(self, prefix: str) -> Iterator[str]:
        self.listed.append(prefix)
        return super().paths(prefix)


@pytest.fixture
def store(tmp_path: Path) -> Listed:
    return Listed(tmp_path)


def keep(store: Folder, number: int, began: datetime, *times: datetime, version: str = "3") -> None:
    def line(time: datetime) -> bytes:
        facts = {"request_id": f"{number}", "version": version, "route": "/predict", "rows": 1, "microseconds": 900}
        return json.dumps({"time": time.timestamp(), **facts, "inputs": {}, "outputs": {}}).encode() + b"\n"

    data = b"".join(compressed(line(time)) for time in times)
    name = SegmentName("predictions", version, began, "0123456789ab", number, len(times))
    store.write(f"served/wine/production/{name.path}", io.BytesIO(data), len(data))


def read(store: Folder, since: datetime, until: datetime, version: int | None = None) -> list[str]:
    def say(text: str) -> None:
        raise AssertionError(text)

    return [one.request_id for one in Segments(store, "wine", "production", say).predictions(since, until, version)]


def test_a_segment_of_the_hour_before_reaches_into_this_one(store: Listed) -> None:
    keep(store, 1, NOON - timedelta(minutes=30), NOON - timedelta(minutes=30), NOON + timedelta(minutes=20))
    assert read(store, NOON, NOON + timedelta(hours=1)) == ["1"]


def test_an_answer_just_before_the_hour_is_in_the_segment_that_was_begun_just_after_it(store: Listed) -> None:
    keep(store, 1, NOON + timedelta(seconds=0.2), NOON - timedelta(seconds=0.1), NOON + timedelta(seconds=5))
    assert read(store, NOON - timedelta(hours=1), NOON) == ["1"]
    assert read(store, NOON, NOON + timedelta(hours=1)) == ["1"]


def test_ends_are_as_they_are_told(store: Listed) -> None:
    keep(store, 1, NOON, NOON)
    assert read(store, NOON, NOON + timedelta(seconds=1)) == ["1"]
    assert read(store, NOON - timedelta(seconds=1), NOON) == []


def test_versions_are_told_apart_by_the_name_alone(store: Listed) -> None:
    keep(store, 1, NOON, NOON)
    keep(store, 2, NOON, NOON, version="12")
    keep(store, 3, NOON, NOON, version="unknown")
    hour = timedelta(hours=1)
    assert sorted(read(store, NOON, NOON + hour)) == ["1", "2", "3"]
    assert read(store, NOON, NOON + hour, version=12) == ["2"]
    assert read(store, NOON, NOON + hour, version=1) == []


def test_they_come_in_the_order_of_their_beginning_across_days(store: Listed) -> None:
    for number in (5, 2, 4, 1, 3):
        moment = NOON + timedelta(hours=11 * number)
        keep(store, number, moment, moment)
    assert read(store, NOON, NOON + timedelta(days=4)) == ["1", "2", "3", "4", "5"]


def test_whole_days_are_listed_at_once_and_the_rest_by_the_hour(store: Listed) -> None:
    read(store, NOON, NOON + timedelta(days=30))
    days = [path for path in store.listed if path.rpartition("/")[2].count("-") == 2]
    assert len(days) == 29
    assert len(store.listed) < 29 + 30


def test_another_zone_is_the_same_moment(store: Listed) -> None:
    keep(store, 1, NOON, NOON)
    rome = datetime.fromisoformat("2026-03-01T13:00:00+01:00")
    assert read(store, rome, rome + timedelta(minutes=1)) == ["1"]


def test_before_anything_was_answered_there_is_nothing(store: Listed) -> None:
    assert read(store, NOON, NOON + timedelta(hours=1)) == []
