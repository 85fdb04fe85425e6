from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelyard.serving import limits

MACHINE = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("max 100000", MACHINE), ("50000 100000", 1), ("150000 100000", min(2, MACHINE)), ("99900000 100000", MACHINE)],
)
def test_a_containers_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: int) -> None:
    (tmp_path / "cpu.max").write_text(f"{text}\n")
    monkeypatch.setattr(limits, "_CGROUP_2", tmp_path / "cpu.max")
    assert limits.processors() == expected


def test_an_older_kernels_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quota, period = tmp_path / "quota", tmp_path / "period"
    monkeypatch.setattr(limits, "_CGROUP_2", tmp_path / "none")
    monkeypatch.setattr(limits, "_CGROUP_1", (quota, period))
    assert limits.processors() == MACHINE
    period.write_text("100000\n")
    quota.write_text("100000\n")
    assert limits.processors() == 1
    quota.write_text("-1\n")
    assert limits.processors() == MACHINE
