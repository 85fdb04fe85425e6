from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelyard.garbage.roots import is_unfinished
from modelyard.store import PipelineRun, StepRecord
from modelyard.store.references import PipelineRecord

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SILENT = NOW - timedelta(days=7)
LONG_AGO = NOW - timedelta(days=90)
ALL = ("prepare", "train", "log_to_sacred", "validate", "containerise", "test_image", "push", "deploy")


def step(name: str, state: Any = "done", clear_number: int = 0, at: datetime = LONG_AGO) -> StepRecord:
    finished = None if state == "running" else at
    return StepRecord("run", name, state, 1, 1, clear_number, at, at, finished)


def run(*steps: StepRecord, **params: Any) -> PipelineRecord:
    run = PipelineRun("run", "test", "wine", "manual", "wine", {}, params, {}, "ada", 0, LONG_AGO)
    return PipelineRecord(run, {one.step: one for one in steps}, frozenset())


def done(*names: str, clear_number: int = 0) -> list[StepRecord]:
    return [step(name, clear_number=clear_number) for name in names]


@pytest.mark.parametrize(
    ("record", "unfinished"),
    [
        (run(*done(*ALL)), False),
        (run(*done(*ALL[:7])), False),  # what waits for a person's yes is released already
        (run(*done(*ALL[:6])), True),  # waits for its next step, however long
        (run(*done(*ALL[:5]), step("test_image", "failed")), False),
        (run(*done(*ALL[:5]), step("test_image", "failed", at=NOW)), True),  # another try may come
        (run(*done("prepare"), step("train", "running", at=NOW)), True),
        (run(*done("prepare"), step("train", "running")), False),  # its process is dead
        (run(*done(*ALL[:3]), release=False), False),
        (run(*done("prepare", *ALL[3:7]), version=3), False),
        (run(*done("prepare"), version=3), True),
        (run(*done("rollback")), False),
        # 'train' was cleared with all after it, and has been done again: the others come next.
        (run(*done("prepare"), *done("train", clear_number=1), *done(*ALL[2:])), True),
        (run(*done("prepare"), *done(*ALL[1:7], clear_number=1)), False),
        (run(*done("prepare"), step("train", "failed", clear_number=1), *done(*ALL[2:])), False),
    ],
)
def test_a_run_is_unfinished_while_a_step_of_it_works_or_comes_next(record: PipelineRecord, unfinished: bool):
    assert is_unfinished(record, SILENT) is unfinished
