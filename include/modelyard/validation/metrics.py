"""The metrics that gates know, computed by scikit-learn in Modelyard's own environment.

Every model is scored by the same code on the same rows, whatever it was trained with: only so can two be compared.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class Metric:
    """One metric: a function of ``sklearn.metrics`` with its arguments.

    Attributes:
        of: ``prediction``, or ``probability`` where a classifier's probabilities are scored.
    """

    task: Task
    function: str
    higher_is_better: bool
    of: Literal["prediction", "probability"] = "prediction"
    arguments: Mapping[str, Any] = field(default_factory=dict)


_MACRO = {"average": "macro", "zero_division": 0}

METRICS: Mapping[str, Metric] = {
    "accuracy": Metric("classification", "accuracy_score", higher_is_better=True),
    "balanced_accuracy": Metric("classification", "balanced_accuracy_score", higher_is_better=True),
    "f1": Metric("classification", "f1_score", higher_is_better=True, arguments=_MACRO),
    "precision": Metric("classification", "precision_score", higher_is_better=True, arguments=_MACRO),
    "recall": Metric("classification", "recall_score", higher_is_better=True, arguments=_MACRO),
    "roc_auc": Metric("classification", "roc_auc_score", higher_is_better=True, of="probability"),
    "log_loss": Metric("classification", "log_loss", higher_is_better=False, of="probability"),
    "rmse": Metric("regression", "root_mean_squared_error", higher_is_better=False),
    "mae": Metric("regression", "mean_absolute_error", higher_is_better=False),
    "median_absolute_error": Metric("regression", "median_absolute_error", higher_is_better=False),
    "mape": Metric("regression", "mean_absolute_percentage_error", higher_is_better=False),
    "max_error": Metric("regression", "max_error", higher_is_better=False),
    "r2": Metric("regression", "r2_score", higher_is_better=True),
}


@dataclass(frozen=True)
class Answers:
    """What a model answered to all rows of a data set, beside what is true.

    Attributes:
        truth: the target column, row by row.
        prediction: the model's first output, row by row.
        probability: of each class, row by row; None when the model gives none.
        classes: in the order of the probabilities.
    """

    truth: Sequence[Any]
    prediction: Sequence[Any]
    probability: Sequence[Sequence[float]] | None = None
    classes: Sequence[Any] | None = None


@dataclass(frozen=True)
class Score:
    """The value of a metric: a finite number; or None, and why there is none."""

    value: float | None
    why: str = ""


def score(name: str, answers: Answers) -> Score:
    """Return a metric of these answers; never a number that is not finite.

    Raises:
        KeyError: there is no such metric.
    """
    import sklearn.metrics

    metric = METRICS[name]
    function = getattr(sklearn.metrics, metric.function)
    if empty := [row for row, value in enumerate(answers.prediction, start=1) if value is None]:
        return Score(None, f"the model answered nothing for {len(empty)} rows, first for row {empty[0]}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they warn of ends as no number, or as a low one
            if metric.of == "probability":
                value = _score_probability(name, function, answers)
            else:
                value = float(function(answers.truth, answers.prediction, **metric.arguments))
    except (ValueError, TypeError) as error:  # how scikit-learn refuses labels and shapes
        return Score(None, str(error).splitlines()[0])
    if not math.isfinite(value):
        return Score(None, f"it is not defined on these data ({value})")
    return Score(value)


def _score_probability(name: str, function: Any, answers: Answers) -> float:
    import numpy as np

    if answers.probability is None or answers.classes is None:
        raise ValueError("the model gives no probability of named classes")
    probability = np.asarray(answers.probability, dtype=float)
    # scikit-learn takes the columns in the order of the sorted labels, whatever the model's own order is.
    labels = np.asarray(answers.classes)
    order = np.argsort(labels)
    labels, probability = labels[order], probability[:, order]
    if name != "roc_auc":
        return float(function(answers.truth, probability, labels=labels))
    if len(labels) == 2:
        return float(function(np.asarray(answers.truth) == labels[1], probability[:, 1]))
    return float(function(answers.truth, probability, labels=labels, multi_class="ovr"))


def scores(answers: Answers, task: Task | None, asked: Sequence[str]) -> dict[str, Score]:
    """Return every metric of the model's task, and those asked for beside them.

    Args:
        answers: the model's, with what is true.
        task: the model's; None when it does not say: then only what is asked for is scored.
        asked: names of gates.
    """
    names = [name for name, metric in METRICS.items() if metric.task == task or name in asked]
    return {name: score(name, answers) for name in names}
