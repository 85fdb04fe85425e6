"""What the boosters of XGBoost and LightGBM answer, told in the outputs that a classifier of scikit-learn has."""

from __future__ import annotations

from typing import Any


def of_probability(raw: Any) -> dict[str, Any]:
    """Return ``prediction`` (the class's number) and ``probability`` for a classifier's raw answers.

    Args:
        raw: a NumPy array: the probability of class 1 for each row, or of each class.
    """
    import numpy as np

    probability = np.column_stack([1 - raw, raw]) if raw.ndim == 1 else raw
    # As scikit-learn decides: of two classes that are equally probable it is the first.
    return {"prediction": probability.argmax(axis=1).astype(np.int64), "probability": probability}
