from __future__ import annotations

import math
import re

import pytest

from modelyard.validation.metrics import METRICS, Answers, score, scores

BINARY = Answers(
    truth=["no", "yes", "yes", "no"],
    prediction=["no", "yes", "no", "no"],
    probability=[[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]],
    classes=["no", "yes"],
)


def value(name: str, answers: Answers) -> float:
    found = score(name, answers).value
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", 3 / 4),
        ("balanced_accuracy", 3 / 4),
        ("precision", (2 / 3 + 1) / 2),
        ("recall", (1 + 1 / 2) / 2),
        ("f1", (4 / 5 + 2 / 3) / 2),
        ("roc_auc", 3 / 4),
        ("log_loss", -(math.log(0.9) + math.log(0.8) + math.log(0.4) + math.log(0.5)) / 4),
    ],
)
def test_classification(name: str, expected: float) -> None:
    assert value(name, BINARY) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rmse", math.sqrt((1 + 4) / 3)),
        ("mae", 1.0),
        ("median_absolute_error", 1.0),
        ("max_error", 2.0),
        ("mape", (1 / 1 + 2 / 4) / 3),
        ("r2", 1 - 5 / (14 / 3)),
    ],
)
def test_regression(name: str, expected: float) -> None:
    assert value(name, Answers(truth=[1, 2, 4], prediction=[2.0, 2.0, 2.0])) == pytest.approx(expected)


def test_probabilities_count_by_their_class_whatever_order_the_model_has() -> None:
    assert BINARY.probability is not None
    turned = Answers(BINARY.truth, BINARY.prediction, [row[::-1] for row in BINARY.probability], ["yes", "no"])
    for name in ("roc_auc", "log_loss"):
        assert value(name, turned) == pytest.approx(value(name, BINARY))


def test_several_classes_are_scored_one_against_the_rest() -> None:
    perfect = Answers([0, 1, 2], [0, 1, 2], [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]], [0, 1, 2])
    assert value("roc_auc", perfect) == 1.0


@pytest.mark.parametrize(
    ("name", "answers", "why"),
    [
        ("accuracy", Answers([1, 0], [1, None]), "answered nothing for 1 rows, first for row 2"),
        ("roc_auc", Answers([1, 0], [1, 0]), "no probability of named classes"),
        ("roc_auc", Answers([1, 1], [1, 1], [[0.1, 0.9], [0.2, 0.8]], [0, 1]), "not defined"),
        ("log_loss", Answers(["new"], ["a"], [[1.0, 0.0]], ["a", "b"]), "new|labels"),
        ("rmse", Answers(["a lot"], [1.0]), "a lot|string"),
        ("r2", Answers([1.0], [1.0]), "not defined"),
    ],
)
def test_what_has_no_figure_says_why(name: str, answers: Answers, why: str) -> None:
    found = score(name, answers)
    assert found.value is None
    assert re.search(why, found.why), found.why


def test_all_metrics_of_the_task_and_what_gates_ask_for() -> None:
    answers = Answers([1, 0], [1, 0])
    assert scores(answers, "regression", ["accuracy", "nonsense"]).keys() == {
        "accuracy",
        *(name for name, metric in METRICS.items() if metric.task == "regression"),
    }
    assert scores(answers, None, ["mae"]).keys() == {"mae"}


def test_every_metric_of_the_table_exists() -> None:
    assert all(
        math.isfinite(value(name, BINARY)) for name, metric in METRICS.items() if metric.task == "classification"
    )
