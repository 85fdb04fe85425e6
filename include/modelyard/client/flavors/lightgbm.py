"""LightGBM's boosters, in LightGBM's own text format.

Its estimators are scikit-learn's flavor: they have no format of their own. A booster whose objective is a
classification answers ``prediction`` and ``probability`` as they do; it knows its classes by number.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from modelyard.client.flavors import FlavorError, Task, Wanted, boosting

_FILE = "model.txt"
_PROBABILITY = ("binary", "multiclass", "multiclassova")
_REGRESSION = (
    *("regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie"),
    *("cross_entropy", "cross_entropy_lambda"),  # of a number between 0 and 1
)


def handles(model: Any) -> bool:
    """Return whether it is a booster of LightGBM."""
    kind = type(model)
    return kind.__module__.partition(".")[0] == "lightgbm" and kind.__name__ == "Booster"


def save(model: Any, folder: Path) -> dict[str, str]:
    """Write ``model.txt``: up to the best iteration, where the training has found one.

    Raises:
        FlavorError: it is no booster.
    """
    if not handles(model):
        raise FlavorError("flavor 'lightgbm' takes a Booster of LightGBM; its estimators are of flavor 'sklearn'")
    model.save_model(folder / _FILE)
    return {"model": _FILE}


def load(folder: Path, files: Mapping[str, str]) -> Any:
    """Return the booster again."""
    import lightgbm

    return lightgbm.Booster(model_file=folder / files["model"])


def predict(model: Any, rows: Any, _wanted: Wanted = None) -> dict[str, Any]:
    """Return ``prediction`` and, of a classification, ``probability`` of each class."""
    raw = model.predict(rows)
    return boosting.of_probability(raw) if objective(model) in _PROBABILITY else {"prediction": raw}


def task(model: Any) -> Task:
    """Return what the objective says; None for a ranking and for an objective of the project's own."""
    name = objective(model)
    if name in _PROBABILITY:
        return "classification"
    return "regression" if name in _REGRESSION else None


def classes(model: Any) -> list[Any] | None:
    """Return the classes by number, in the order of the probabilities."""
    if objective(model) not in _PROBABILITY:
        return None
    return list(range(max(2, model.num_model_per_iteration())))


def estimator(booster: Any) -> tuple[str, Any]:
    """Return ``Classifier`` or ``Regressor`` and an estimator of that kind with what converters ask of LightGBM's own.

    LightGBM makes no estimator of a booster.
    """
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

    kind = "Classifier" if objective(booster) in _PROBABILITY else "Regressor"
    mixin = ClassifierMixin if kind == "Classifier" else RegressorMixin
    model = type(kind, (mixin, BaseEstimator), {})()
    model.booster_ = booster
    model.boosting_type = "rf" if "average_output" in _header(booster) else "gbdt"
    model.objective_ = objective(booster)
    if kind == "Classifier":
        import numpy as np

        model.classes_ = np.array(classes(booster))
    return kind, model


def objective(booster: Any) -> str:
    """Return the name of a booster's objective, as in ``multiclass``; ``custom`` where the project has its own."""
    for line in _header(booster):
        if line.startswith("objective="):
            return line.removeprefix("objective=").split()[0]
    return "custom"


@lru_cache(maxsize=8)
def _header(booster: Any) -> list[str]:
    text: str = booster.model_to_string(num_iteration=1)
    return text.partition("\n\n")[0].splitlines()
