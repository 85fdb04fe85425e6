"""XGBoost's boosters and its estimators, in XGBoost's own format: no pickle, and read by later versions.

A booster whose objective is a classification answers ``prediction`` and ``probability`` as an estimator does; it knows
its classes by number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from modelyard.client.flavors import FlavorError, Task, Wanted, boosting
from modelyard.client.flavors import sklearn as estimators

_FILE = "model.ubj"
# By the kind under which its file is kept: the estimators, and what is loaded again.
_ESTIMATORS = {
    "classifier": ("XGBClassifier", "XGBRFClassifier"),
    "regressor": ("XGBRegressor", "XGBRFRegressor"),
    "ranker": ("XGBRanker",),
}
_PROBABILITY = ("binary:logistic", "multi:softprob")
_LABEL = ("multi:softmax", "binary:hinge")
_REGRESSION = ("reg:", "count:", "survival:")


def handles(model: Any) -> bool:
    """Return whether it is a booster or an estimator of XGBoost's own, and its own format keeps all of it."""
    if not _is_of_xgboost(model):
        return False
    if type(model).__name__ == "Booster":
        return True
    # What stands for a missing value is not in the file: such an estimator is kept as scikit-learn's are.
    return _kind(model) is not None and _is_nan(getattr(model, "missing", math.nan))


def save(model: Any, folder: Path) -> dict[str, str]:
    """Write ``model.ubj``, entered by what it is loaded as: ``booster``, ``classifier``, ``regressor``, ``ranker``.

    Raises:
        FlavorError: it is not what ``handles`` takes.
    """
    if not handles(model):
        raise FlavorError(
            "flavor 'xgboost' takes a Booster, or an estimator of XGBoost's own whose missing values are NaN; "
            "others are of flavor 'sklearn'"
        )
    model.save_model(folder / _FILE)
    return {_kind(model) or "booster": _FILE}


def load(folder: Path, files: Mapping[str, str]) -> Any:
    """Return the booster or the estimator again."""
    import xgboost

    ((kind, file),) = files.items()
    model = xgboost.Booster() if kind == "booster" else getattr(xgboost, _ESTIMATORS[kind][0])()
    model.load_model(folder / file)
    return model


def predict(model: Any, rows: Any, wanted: Wanted = None) -> dict[str, Any]:
    """Return ``prediction`` and, of a classifier that gives them, ``probability`` of each class."""
    if _kind(model) is not None:
        return estimators.predict(model, rows, wanted)
    import numpy as np
    import xgboost

    raw = model.predict(xgboost.DMatrix(rows, enable_categorical=True))
    name = objective(model)
    if name in _PROBABILITY:
        return boosting.of_probability(raw)
    return {"prediction": raw.astype(np.int64) if name in _LABEL else raw}


def task(model: Any) -> Task:
    """Return what the objective or the estimator says; None for a ranking and for what gives scores."""
    if (kind := _kind(model)) is not None:
        return {"classifier": "classification", "regressor": "regression"}.get(kind)  # type: ignore[return-value]
    name = objective(model)
    if name in (*_PROBABILITY, *_LABEL):
        return "classification"
    return "regression" if name.startswith(_REGRESSION) else None


def classes(model: Any) -> list[Any] | None:
    """Return the classes by number, in the order of the probabilities."""
    if _kind(model) is not None:
        return estimators.classes(model)
    if task(model) != "classification":
        return None
    learner = _learner(model)
    return list(range(max(2, int(learner["learner_model_param"]["num_class"]))))


@lru_cache(maxsize=8)
def objective(booster: Any) -> str:
    """Return the name of a booster's objective, as in ``binary:logistic``."""
    name: str = _learner(booster)["objective"]["name"]
    return name


def estimator(booster: Any) -> Any:
    """Return the estimator that answers as a booster does: there are converters for estimators alone."""
    import xgboost

    kind = "classifier" if task(booster) == "classification" else "regressor"
    model = getattr(xgboost, _ESTIMATORS[kind][0])()
    model.load_model(booster.save_raw("ubj"))
    return model


def _learner(booster: Any) -> Any:
    import json

    return json.loads(booster.save_config())["learner"]


def _is_of_xgboost(model: Any) -> bool:
    # Not what descends from it: a class of the project's own is more than the file keeps.
    module = type(model).__module__
    return module.partition(".")[0] == "xgboost" and ".dask" not in module


def _kind(model: Any) -> str | None:
    name = type(model).__name__
    return next((kind for kind, names in _ESTIMATORS.items() if name in names), None)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
