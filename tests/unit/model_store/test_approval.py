from datetime import UTC, datetime
from typing import Any

import pytest

from model_store.approval import figures
from modelyard.store import ModelVersion, PipelineRun

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RUN = PipelineRun("id", "default", "wine", "manual", "wine", {}, {"reason": "new data"}, {}, "ada", 0, NOW)
VERSION = ModelVersion(
    name="wine",
    version=4,
    run_id=1,
    commit="3251d04",
    dirty=False,
    diff_digest=None,
    project_digest="",
    lock_digest=None,
    environment=None,
    package_differences=(),
    data=(),
    model=(),
    signature={},
    metrics={"accuracy": 0.97},
    config={},
    created_by="ada",
    pipeline_run=None,
    created_at=NOW,
    image_digest="sha256:ab",
)


@pytest.mark.parametrize(
    ("live", "not_compared", "header", "told"),
    [
        (None, "", "| Nothing is live there yet |", None),
        (3, "", "| Version 3, live there |", None),
        (3, "its image | is gone", "| Version 3, live there |", "Not compared with version 3: its image \\| is gone."),
    ],
)
def test_a_person_is_told_what_is_live_and_why_it_was_not_compared(
    live: int | None, not_compared: str, header: str, told: str | None
):
    gate = {"gate": "accuracy", "expected": "≥ 0.9", "found": "0.97", "production": "", "passed": True, "why": ""}
    validated: dict[str, Any] = {"live": live, "not_compared": not_compared, "gates": [gate]}
    lines = figures(RUN, VERSION, validated, ["linux/arm64"]).splitlines()
    assert lines[-3] == "Its image for linux/arm64 was not tested."
    assert "Asked for by **ada**. new data" in lines
    assert header in next(line for line in lines if line.startswith("| Gate"))
    assert "| accuracy | ≥ 0.9 | 0.97 |  | passed |" in lines
    assert [line for line in lines if line.startswith("Not compared")] == ([told] if told else [])
