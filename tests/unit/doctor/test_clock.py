from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from modelyard.doctor.clock import by_header, compare

BEFORE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AFTER = BEFORE + timedelta(seconds=2)


@pytest.mark.parametrize("offset", [-5, -1, 0, 2, 7])
def test_a_clock_that_agrees_is_not_worth_a_word(offset: float) -> None:
    assert list(compare("S3", BEFORE + timedelta(seconds=offset), BEFORE, AFTER)) == []


@pytest.mark.parametrize(
    ("offset", "told"),
    [
        (-6, "6 seconds behind"),
        (-3600, "3600 seconds behind"),
        (8, "6 seconds ahead of"),
        (902, "900 seconds ahead of"),
    ],
)
def test_a_clock_that_is_off_is_a_warning(offset: float, told: str) -> None:
    (finding,) = compare("S3", BEFORE + timedelta(seconds=offset), BEFORE, AFTER)
    assert finding.state == "warning"
    assert finding.subject == "S3: clock"
    assert told in finding.found
    assert finding.remedy is not None


def test_a_header() -> None:
    assert list(by_header("S3", None, BEFORE, AFTER)) == []
    assert list(by_header("S3", "yesterday", BEFORE, AFTER)) == []
    assert list(by_header("S3", "Fri, 02 Jan 2026 03:04:06 GMT", BEFORE, AFTER)) == []
    (finding,) = by_header("S3", "Fri, 02 Jan 2026 03:14:07 GMT", BEFORE, AFTER)
    assert "600 seconds ahead of" in finding.found
