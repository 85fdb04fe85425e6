from __future__ import annotations

from datetime import timedelta

import pytest

from modelyard.errors import RequestError
from modelyard.garbage.collect import Collection
from modelyard.garbage.patience import patience
from modelyard.garbage.report import lines
from modelyard.garbage.sweep import NAMED, Row, Thing

ROWS = (Row("artifacts that nothing refers to", 1204, 3_400_000_000, 2, 999), Row("uploads that never ended", 1, 0))


def test_a_dry_run_says_how_much_and_how_to_delete_it():
    said = list(lines(Collection(ROWS, False, ("step train of 0123456789ab",), True), "7d"))
    assert "can be deleted" in said[0]
    assert said[1].split() == ["artifacts", "that", "nothing", "refers", "to", "1,204", "3.4", "GB", "2", "999", "B"]
    assert said[3].split() == ["total", "1,205", "3.4", "GB", "2", "999", "B"]
    assert any("less than 7d" in line for line in said)
    assert any("step train of 0123456789ab" in line for line in said)
    assert said[-1].endswith("modelyard gc --delete")


def test_what_the_registrys_owner_has_to_do_is_told_when_images_were_deleted():
    images = (Row("environments of no version", 1, 5),)
    assert "garbage-collect" in list(lines(Collection(images, True, (), True), "7d"))[-1]
    assert "garbage-collect" not in list(lines(Collection(images, True, (), False), "7d"))[-1]
    assert "garbage-collect" not in list(lines(Collection(ROWS, True, (), True), "7d"))[-1]
    assert list(lines(Collection((), True, (), True), "7d")) == ["There is no garbage."]


def test_the_time_is_hours_or_days():
    assert patience("36h") == timedelta(hours=36)
    assert patience("7d") == timedelta(days=7)
    for wrong in ("", "0h", "7", "7w", "-1d", "1.5d", "1h ", "7d\n", "10000d", "9999999999d"):
        with pytest.raises(RequestError, match="at least 1h"):
            patience(wrong)


def test_a_dry_run_names_the_largest_things_of_each_kind_and_why_they_are_garbage():
    row = Row("images of runs that have ended")
    for number in range(100):
        name = f"image staging/wine@sha256:{number:064x}"
        row = row.one_more(Thing(name, number, f"unreferenced since day {number}"), ripe=number % 2 == 0)
    said = list(lines(Collection((row,), False, (), True), "7d"))
    named = said[said.index("images of runs that have ended:") + 1 :]
    assert named[0] == "       99 B  image staging/wine@sha256:000000000000…: unreferenced since day 99"
    assert [line.split()[0] for line in named[:NAMED]] == [str(number) for number in range(99, 99 - NAMED, -1)]
    assert named[NAMED] == "  and 80 more, none of them larger"
    assert (row.ripe, row.later, row.ripe_bytes + row.later_bytes) == (50, 50, sum(range(100)))
    assert not any("staging/wine" in line for line in lines(Collection((row,), True, (), True), "7d"))
