"""Limits that a deployment sets for requests."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.image_roots import make_root

from .conftest import FACTS, Start

ROW = {"a": 1, "b": 2.0, "word": "x"}


def test_a_body_may_be_limited(start: Start, tmp_path: Path) -> None:
    running = start(make_root(tmp_path / "root"), environment={**FACTS, "MODELYARD_MOST_BODY_BYTES": "100"})
    assert running.post("/predict", [ROW]).status == 200
    refused = running.post("/predict", [ROW] * 10)
    assert (refused.status, "at most 100 are taken" in refused.json["error"]) == (413, True)


@pytest.mark.parametrize("name", ["MODELYARD_MOST_BODY_BYTES", "MODELYARD_ANSWER_SECONDS"])
def test_a_limit_that_is_none_ends_the_start(start: Start, tmp_path: Path, name: str) -> None:
    running = start(make_root(tmp_path / "root"), ready=False, environment={name: "-1"})
    assert running.process.wait(20) == 1
    assert f"cannot start: {name} is '-1': give a number above zero" in running.log.read_text()
