from __future__ import annotations

from typing import Any

import pytest

from modelyard.validation.gates import Gate, InProduction, metric_gates, render
from modelyard.validation.metrics import Score
from modelyard.validation.scoring import Scored


def scored(data: str = "test", /, **values: float) -> Scored:
    return Scored(data, {name: Score(value) for name, value in values.items()})


def production(**values: float) -> InProduction:
    return InProduction(3, {"test": scored(**values)})


def judge(name: str, gate: dict[str, Any], candidate: list[Scored], against: InProduction | None = None) -> list[Gate]:
    return metric_gates({name: gate}, candidate, against or InProduction())


@pytest.mark.parametrize(
    ("gate", "value", "passed"),
    [
        ({"min": 0.9}, 0.9, True),
        ({"min": 0.9}, 0.8999, False),
        ({"max": 0.5}, 0.5, True),
        ({"max": 0.5}, 0.51, False),
        ({"min": 0.1, "max": 0.5}, 0.3, True),
        ({"min": 0.1, "max": 0.5}, 0.05, False),
        ({"min": 0.0}, -1.0, False),
    ],
)
def test_absolute_limits(gate: dict[str, Any], value: float, passed: bool) -> None:
    (result,) = judge("accuracy", gate, [scored(accuracy=value)])
    assert result.passed is passed


@pytest.mark.parametrize(
    ("name", "theirs", "ours", "tolerance", "passed"),
    [
        ("accuracy", 0.95, 0.95, 0.0, True),
        ("accuracy", 0.95, 0.94, 0.0, False),
        ("accuracy", 0.9, 0.8, 0.1, True),  # 0.9 - 0.1 is more than 0.8 in binary
        ("accuracy", 0.95, 0.93, 0.01, False),
        ("accuracy", 0.95, 0.99, 0.01, True),
        ("rmse", 10.0, 10.5, 0.5, True),
        ("rmse", 10.0, 10.6, 0.5, False),
        ("rmse", 10.0, 2.0, 0.0, True),
    ],
)
def test_against_production_in_the_metrics_own_direction(
    name: str, theirs: float, ours: float, tolerance: float, passed: bool
) -> None:
    (result,) = judge(name, {"tolerance": tolerance}, [scored(**{name: ours})], production(**{name: theirs}))
    assert result.passed is passed
    assert "version 3" in result.production


def test_a_gate_may_ask_for_both() -> None:
    absolute, relative = judge(
        "accuracy", {"min": 0.9, "tolerance": 0.01}, [scored(accuracy=0.95)], production(accuracy=0.99)
    )
    assert (absolute.passed, relative.passed) == (True, False)
    assert (relative.expected, relative.found, relative.production) == ("≥ 0.98", "0.95", "0.99 (version 3)")


def test_the_first_version_has_nothing_to_be_compared_with() -> None:
    (result,) = judge("accuracy", {"tolerance": 0.0}, [scored(accuracy=0.5)])
    assert (result.passed, result.production) == (True, "none yet")


@pytest.mark.parametrize(
    "against",
    [
        InProduction(3, why="its server cannot be reached"),
        InProduction(3, {"test": Scored("test", {}, why="its server cannot be reached")}),
        InProduction(3, {"test": Scored("test", {"accuracy": Score(None, "its server cannot be reached")})}),
    ],
)
def test_a_production_that_cannot_be_scored_refuses(against: InProduction) -> None:
    (result,) = judge("accuracy", {"tolerance": 1.0}, [scored(accuracy=1.0)], against)
    assert not result.passed
    assert "Version 3 in production cannot be scored" in result.why
    assert "cannot be reached" in result.why


@pytest.mark.parametrize("gate", [{"min": 0.0}, {"tolerance": 9.0}])
def test_no_evaluation_data_refuses(gate: dict[str, Any]) -> None:
    (result,) = judge("accuracy", gate, [])
    assert not result.passed
    assert "no evaluation data" in result.why.lower()


@pytest.mark.parametrize("gate", [{"min": 0.0}, {"tolerance": 9.0}])
@pytest.mark.parametrize(
    "candidate", [Scored("test", {}, why="it is broken"), Scored("test", {"accuracy": Score(None, "it is broken")})]
)
def test_no_figure_refuses_even_without_production(gate: dict[str, Any], candidate: Scored) -> None:
    (result,) = judge("accuracy", gate, [candidate])
    assert not result.passed
    assert "it is broken" in result.why


def test_every_evaluation_data_set_must_pass() -> None:
    first, second = judge("accuracy", {"min": 0.9}, [scored("north", accuracy=0.95), scored("south", accuracy=0.7)])
    assert (first.gate, first.passed) == ("accuracy on north", True)
    assert (second.gate, second.passed) == ("accuracy on south", False)


def test_the_table_is_aligned_and_gives_reasons() -> None:
    text = render(
        [
            Gate("accuracy", "≥ 0.9", "0.95", passed=True),
            Gate(
                "accuracy against production",
                "≥ 0.98",
                "0.95",
                passed=False,
                production="0.99 (version 3)",
                why="One.\nTwo.",
            ),
        ]
    )
    assert text.splitlines() == [
        "        gate                         expected  found  production",
        "passed  accuracy                     ≥ 0.9     0.95",
        "FAILED  accuracy against production  ≥ 0.98    0.95   0.99 (version 3)",
        "        · One.",
        "        · Two.",
    ]
