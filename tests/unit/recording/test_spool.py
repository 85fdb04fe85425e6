from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from tests.unit.recording.full_disk import disk_for

from modelyard.recording import spool
from modelyard.recording.spool import FileSpool, Journal


def test_a_file_is_kept_as_it_was(tmp_path: Path):
    source = tmp_path / "model.csv"
    source.write_bytes(b"a,b\n")
    files = FileSpool(tmp_path)
    with source.open("rb") as file:
        digest, size = files.keep(file.fileno(), "model.csv")
    source.write_bytes(b"changed")
    assert size == 4
    assert files.path(digest).read_bytes() == b"a,b\n"
    assert files.path(digest).suffix == ".csv"


def test_what_is_no_file_is_refused(tmp_path: Path):
    read, write = os.pipe()
    try:
        with pytest.raises(ValueError, match="not a regular file"):
            FileSpool(tmp_path).keep(read, "pipe")
    finally:
        os.close(read)
        os.close(write)
    with pytest.raises(ValueError, match="no file sha256:0"):
        FileSpool(tmp_path).path("sha256:0")


def test_events_come_in_order_and_end(tmp_path: Path):
    journal = Journal(tmp_path / "journal")
    taken: list[int] = []
    reader = threading.Thread(target=lambda: taken.extend(event["number"] for event in journal))
    reader.start()
    for number in range(100):
        journal.append({"number": number})
    journal.close()
    reader.join(10)
    assert taken == list(range(100))


def test_an_event_that_the_disk_does_not_take_leaves_no_part_of_itself(tmp_path: Path):
    journal = Journal(tmp_path / "journal")
    events = iter(journal)
    journal.append({"number": 1})
    with disk_for(2**20), pytest.raises(OSError, match="File too large"):
        journal.append({"text": "x" * 2**21})
    journal.append({"number": 2})
    journal.close()
    assert list(events) == [{"number": 1}, {"number": 2}]


def test_a_full_journal_makes_the_sender_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spool, "_MOST_BYTES", 40)
    journal = Journal(tmp_path / "journal")
    events = iter(journal)
    journal.append({"text": "x" * 50})
    sender = threading.Thread(target=journal.append, args=({"text": "y"},))
    sender.start()
    sender.join(0.2)
    assert sender.is_alive()
    assert next(events)["text"][0] == "x"
    # Asking for the next one tells that the first is done.
    assert next(events) == {"text": "y"}
    sender.join(10)
    journal.close()
    assert list(events) == []
