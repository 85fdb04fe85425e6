from __future__ import annotations

import enum
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from modelyard.client.plain import cell, cells, plain, restored


class Level(enum.IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(0.5), 0.5),
        (np.int32(4), 4),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([[1, 2]]), [[1, 2]]),
        (Level.HIGH, 3),
        ({1: (1, 2)}, {"1": [1, 2]}),
        ({"b", "a"}, ["a", "b"]),
        (Path("/data"), "/data"),
        (pd.Series([1.5]), [1.5]),
    ],
)
def test_values_of_libraries_become_json(value: object, expected: object):
    found = plain(value)
    assert found == expected
    assert type(json.loads(json.dumps(found))) is type(expected)


def test_a_datetime_survives_the_way():
    value = {"at": datetime(2026, 1, 2, 3, 4, 5, 6), "list": [datetime(2026, 1, 2, tzinfo=UTC)]}  # noqa: DTZ001 - Sacred's are naive
    assert restored(json.loads(json.dumps(plain(value)))) == value


def test_what_no_rule_fits_is_written_as_sacred_writes_it():
    assert plain(range(3))["py/reduce"] or plain(range(3))


@pytest.mark.parametrize("value", [None, float("nan"), np.nan, pd.NA, pd.NaT, np.float32("nan")])
def test_every_kind_of_missing_is_none(value: object):
    assert cell(value) is None


def test_a_column_becomes_a_list():
    frame = pd.DataFrame(
        {"day": pd.Series([pd.Timestamp("2026-01-02"), pd.NaT]), "n": pd.array([1, None], dtype="Int64")}
    )
    assert cells(frame["day"]) == ["2026-01-02T00:00:00", None]
    assert cells(frame["n"]) == [1, None]
    assert cells(np.array([[1.0, np.nan]])) == [[1.0, None]]
