from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from modelyard.store.records import DataFingerprint, ModelVersion
from modelyard.validation import report
from modelyard.validation.critical import CriticalResult
from modelyard.validation.gates import Gate, InProduction
from modelyard.validation.metrics import Answers, scores
from modelyard.validation.scoring import Scored
from modelyard.validation.suites import Failure, SuiteResult

VERSION = ModelVersion(
    name="wine",
    version=4,
    run_id=17,
    commit="8c1f0a" + "b" * 34,
    dirty=False,
    diff_digest=None,
    project_digest="sha256:0",
    lock_digest=None,
    environment=None,
    package_differences=(),
    data=(DataFingerprint("wines", "train", "data/wines.csv", "sha256:" + "4" * 64, 9, 1423, ("a", "b"), "b", "csv"),),
    model=(),
    signature={},
    metrics={},
    config={},
    created_by="ada",
    pipeline_run=None,
    created_at=datetime(2025, 1, 2, 3, 4, tzinfo=UTC),
)
SETTINGS = {"environment": "production", "protected": True}


def classified(*prediction: str) -> Scored:
    answers = Answers(["a", "b", "b", "b"], prediction)
    return Scored("wines-eval", scores(answers, "classification", []), answers)


def facts(version: ModelVersion = VERSION, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "gates": [],
        "suites": [],
        "scored": [],
        "production": InProduction(),
        "critical": [],
    } | changes
    return report.facts(version, SETTINGS, **given)


def test_the_facts_are_json_and_compare_in_the_metrics_direction() -> None:
    ours, theirs = classified("a", "b", "b", "a"), classified("a", "b", "b", "b")
    found = facts(scored=[ours], production=InProduction(3, {"wines-eval": theirs}))
    assert json.loads(json.dumps(found)) == found
    metrics = {metric["name"]: metric for metric in found["scores"][0]["metrics"]}
    assert (metrics["accuracy"]["candidate"], metrics["accuracy"]["production"]) == (0.75, 1.0)
    assert metrics["accuracy"]["better"] is False
    assert metrics["roc_auc"]["candidate"] is None
    assert "no probability" in metrics["roc_auc"]["why"]
    assert found["compared_with"] == 3
    assert (found["live"], found["not_compared"]) == (3, "")


@pytest.mark.parametrize(
    ("production", "live", "why", "shown"),
    [
        (InProduction(), None, "", "nothing: none is live there yet"),
        (InProduction(3, why="it is down"), 3, "it is down", "nothing: version 3 is live there, but it is down"),
        (InProduction(3, {}), 3, "there is no evaluation data", "but there is no evaluation data"),
    ],
)
def test_what_is_live_and_why_it_was_not_compared(
    production: InProduction, live: int | None, why: str, shown: str
) -> None:
    found = facts(production=production)
    assert (found["live"], found["compared_with"], found["not_compared"]) == (live, None, why)
    assert shown in report.page(found)


def test_a_lower_error_is_better() -> None:
    def off(by: float) -> Scored:
        answers = Answers([1.0, 2.0, 3.0], [1.0 + by, 2.0, 3.0])
        return Scored("eval", scores(answers, "regression", []), answers)

    found = facts(scored=[off(0.1)], production=InProduction(1, {"eval": off(0.5)}))["scores"][0]
    assert {metric["name"]: metric["better"] for metric in found["metrics"]} == dict.fromkeys(
        ["rmse", "mae", "mape", "max_error", "r2"], True
    ) | {"median_absolute_error": None}
    assert found["points"][0] == [1.0, 1.1]
    assert found["confusion"] is None


@pytest.mark.parametrize(("passed", "verdict"), [(True, "✓ Passed"), (False, "✗ Refused")])
def test_one_gate_decides_the_verdict(passed: bool, verdict: str) -> None:
    found = facts(gates=[Gate("one", "1", "1", passed=True), Gate("two", "2", "?", passed)])
    assert found["passed"] is passed
    assert verdict in report.page(found)


class _Page(HTMLParser):
    """Collects what a page would load from elsewhere, and checks that its elements are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name == "src" or (tag == "link" and name == "href")]
        assert tag != "script"
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_stands_alone_and_hides_nothing() -> None:
    hostile = "<script>alert(1)</script>"
    found = facts(
        replace(VERSION, dirty=True, package_differences=("numpy 1 is installed, the lock says 2",)),
        gates=[Gate("data wines", "2 met", "0 met", passed=False, why=f"One.\n{hostile}")],
        suites=[SuiteResult("wines", 2, 0, (Failure("a is null", True), Failure("b is odd", False)))],
        scored=[classified("a", "b", "b", "a"), Scored("other", {}, why="it cannot be read")],
        production=InProduction(3, {"wines-eval": classified("a", "b", "b", "b")}),
        critical=[CriticalResult(2, {"z": 1, "a": hostile}, "x", 0.5, None, passed=False, why="the model refuses")],
    )
    page = _Page(report.page(found))
    assert (page.open, page.loads) == ([], [])
    for text in (
        "with uncommitted changes",
        "numpy 1 is installed",
        hostile,
        "warning: b is odd",
        "it cannot be read",
        '{"z": 1, "a":',
        "the model refuses",
        "-0.25 worse",
        "0 of 2 met",
    ):
        assert text in page.text


def test_a_version_without_anything_still_has_a_page() -> None:
    page = _Page(report.page(facts(replace(VERSION, data=(), commit=None)))).text
    assert "has no gates" in page
    assert "recorded no data" in page
