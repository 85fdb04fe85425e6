"""Segments of the prediction log: names, batches, and what a kill leaves."""

from __future__ import annotations

import fcntl
import gzip
import os
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from modelyard.serving.segment import Segment, SegmentName, compressed, members, recover

NAME = SegmentName("predictions", "3", datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC), "0123456789ab", 7)
LINES = b'{"a":1}\n{"a":2}\n'


def test_a_name_says_what_it_was_made_of() -> None:
    assert NAME.file == "predictions.3.20260203T040506Z.0123456789ab.7.open"
    assert SegmentName.parse(NAME.file) == NAME
    closed = SegmentName("feedback", "unknown", NAME.began, NAME.writer, 7, records=12)
    assert SegmentName.parse(closed.file) == closed
    assert closed.path == "feedback/2026-02-03/04/unknown.20260203T040506Z.0123456789ab.7.12.jsonl.gz"


@pytest.mark.parametrize(
    "name",
    [
        "shipped.json",
        "predictions.3.20260231T040506Z.0123456789ab.7.open",  # there is no such day
        "predictions.3.20260203T040506Z.0123456789ab.7.12.jsonl.gz.part",
        "predictions.-3.20260203T040506Z.0123456789ab.7.open",
        "predictions.3/.20260203T040506Z.0123456789ab.7.open",
        "predictions.3.20260203T040506Z.0123456789ab.7.open\n",
        "secrets.3.20260203T040506Z.0123456789ab.7.open",
    ],
)
def test_what_is_no_segments_name_is_none(name: str) -> None:
    assert SegmentName.parse(name) is None


def test_a_closed_segment_is_a_gzip_file_of_lines_and_its_name_counts_them(tmp_path: Path) -> None:
    segment = Segment(tmp_path, NAME)
    segment.append(compressed(LINES), 2)
    segment.append(compressed(b'{"a":3}\n'), 1)
    assert [path.name for path in tmp_path.iterdir()] == [NAME.file]
    segment.close()
    (path,) = tmp_path.iterdir()
    assert path.name == "predictions.3.20260203T040506Z.0123456789ab.7.3.jsonl.gz"
    assert gzip.decompress(path.read_bytes()) == LINES + b'{"a":3}\n'


def test_every_cut_of_a_segment_gives_back_its_whole_batches(tmp_path: Path) -> None:
    parts = [compressed(bytes(random.Random(size).choices(b"abc\n", k=size))) for size in (1, 50, 3000)]
    counts = [gzip.decompress(part).count(b"\n") for part in parts]
    ends = [sum(map(len, parts[: index + 1])) for index in range(3)]
    data = b"".join(parts)
    for cut in (*range(0, len(data), 7), *ends, *(end - 1 for end in ends)):
        whole = [end for end in ends if end <= cut]
        assert list(members(data[:cut])) == list(zip(whole, counts, strict=False))[: len(whole)]


def test_a_batch_that_unpacks_to_very_much_is_counted_all_the_same() -> None:
    assert list(members(compressed(b"\n" * 5_000_000))) == [(len(compressed(b"\n" * 5_000_000)), 5_000_000)]


@pytest.mark.parametrize("rest", [b"", b"\x1f\x8b\x08", b"no gzip at all"])
def test_what_a_killed_writer_has_left_is_closed_up_to_its_last_batch(tmp_path: Path, rest: bytes) -> None:
    path = tmp_path / NAME.file
    path.write_bytes(compressed(LINES) + rest)
    assert recover(path)
    (found,) = tmp_path.iterdir()
    assert found.name.endswith(".7.2.jsonl.gz")
    assert gzip.decompress(found.read_bytes()) == LINES


def test_a_segment_is_left_to_its_writer_while_that_lives(tmp_path: Path) -> None:
    segment = Segment(tmp_path, NAME)
    segment.append(compressed(LINES), 2)
    assert not recover(tmp_path / NAME.file)
    segment.close()
    assert recover(tmp_path / NAME.file)  # closed between the look at the folder and this one
    assert len(list(tmp_path.iterdir())) == 1


def test_a_segment_in_which_nothing_is_whole_goes_when_its_writer_may_not_still_come(tmp_path: Path) -> None:
    path = tmp_path / NAME.file
    path.touch()
    assert not recover(path)
    os.utime(path, (0, 0))
    assert recover(path)
    assert not list(tmp_path.iterdir())


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(compressed(LINES) + b"more")
    (tmp_path / NAME.file).symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic"):
        recover(tmp_path / NAME.file)
    assert (tmp_path / "secret").read_bytes().endswith(b"more")


def test_a_full_disk_leaves_no_torn_batch_before_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = Segment(tmp_path, NAME)
    segment.append(compressed(LINES), 2)
    write, calls = os.write, []

    def full(descriptor: int, data: memoryview) -> int:
        calls.append(data)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[:5])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            segment.append(compressed(LINES), 2)
    segment.append(compressed(LINES), 2)
    segment.close()
    (path,) = tmp_path.iterdir()
    assert path.name.endswith(".7.4.jsonl.gz")
    assert gzip.decompress(path.read_bytes()) == LINES * 2
    assert path.stat().st_size == 2 * len(compressed(LINES))


def test_the_lock_is_gone_with_its_descriptor(tmp_path: Path) -> None:
    segment = Segment(tmp_path, NAME)
    with (tmp_path / NAME.file).open() as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        segment.append(compressed(LINES), 2)
        segment.close()
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
