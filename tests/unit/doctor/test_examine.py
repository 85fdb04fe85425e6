"""What is looked at when Airflow, which would say where the rest is, says nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.doctor import airflow
from modelyard.doctor.examine import Asked, examine
from modelyard.doctor.finding import Finding


def test_an_airflow_that_tells_nothing_is_the_only_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(airflow, "is_here", lambda environment: "3.3.2")
    monkeypatch.setattr(airflow, "ask", lambda: Finding("failed", "Airflow", "tells nothing"))
    found = list(examine(Asked(environments=("production",)), {}, tmp_path, lambda line: None))
    assert [(finding.state, finding.subject) for finding in found] == [
        ("ok", "Modelyard"),
        ("failed", "Airflow"),
        ("skipped", "All else"),
    ]
