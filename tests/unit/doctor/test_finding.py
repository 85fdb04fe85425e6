from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from modelyard.doctor.finding import Finding, Look
from modelyard.errors import StoreError

FIRST = Finding("ok", "S3", "answers")


def test_what_was_found_before_an_error_is_kept() -> None:
    def look() -> Iterator[Finding]:
        yield FIRST
        raise StoreError("It refuses", "ask it nicely")

    assert Look("S3", 5, "wait", look).findings() == [FIRST, Finding("failed", "S3", "It refuses", "ask it nicely")]


def test_what_does_not_answer_ends_in_time() -> None:
    def look() -> Iterator[Finding]:
        yield FIRST
        time.sleep(60)

    begun = time.monotonic()
    found = Look("S3", 0.3, "wait", look).findings()
    assert time.monotonic() - begun < 5
    assert found == [FIRST, Finding("failed", "S3", "no answer within 0.3 seconds", "wait")]


def test_a_mistake_of_ours_is_not_hidden() -> None:
    def look() -> Iterator[Finding]:
        yield FIRST
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Look("S3", 5, "wait", look).findings()
