"""Models that are trained in a moment, by the tests' own process, and their images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tests.image_roots import script

from modelyard.client.model import write_model

_PYTHON = """
def load(folder):
    return folder.name

def predict(model, rows):
    return {"prediction": [row["count"] * 2 + len(row["word"] or "") for row in rows]}
"""


def frame() -> tuple[Any, Any]:
    """A pipeline with categories, text, gaps, integers and truth values."""
    chance = np.random.default_rng(3)
    count = chance.integers(0, 9, 60)
    rows = pd.DataFrame(
        {
            "hue": pd.Categorical(chance.choice(["red", "green"], 60)),
            "word": chance.choice(["x", "zwölf", "a,b"], 60).astype(object),
            "count": count.astype("int32"),
            "size": np.where(count > 6, np.nan, chance.normal(size=60)),
            "good": chance.random(60) > 0.5,
        }
    )
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["hue", "word"]),
        (SimpleImputer(), ["size"]),
        ("passthrough", ["count", "good"]),
    )
    labels = np.where(count + rows["good"] > 4, "much", "little")
    return make_pipeline(columns, LogisticRegression()).fit(rows, labels), rows[:8]


def pipeline() -> tuple[Any, Any]:
    """A pipeline with text, gaps and whole numbers, of which there is a compiled form."""
    chance = np.random.default_rng(5)
    rows = pd.DataFrame(
        {
            "word": chance.choice(["x", "zwölf", "a,b"], 60).astype(object),
            "count": chance.integers(0, 9, 60),
            "size": np.where(chance.random(60) > 0.8, np.nan, chance.normal(size=60)),
        }
    )
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["word"]), (SimpleImputer(), ["size"]), remainder="passthrough"
    )
    labels = np.where(rows["count"] > 4, "much", "little")
    return make_pipeline(columns, LogisticRegression()).fit(rows, labels), rows[:8]


def array() -> tuple[Any, Any]:
    chance = np.random.default_rng(4)
    rows = chance.normal(size=(80, 3)).astype(np.float32)
    rows[::3, 1] = np.nan
    return HistGradientBoostingRegressor(max_iter=5).fit(rows, np.nansum(rows, axis=1)), rows[:4]


def one_column() -> tuple[Any, Any]:
    rows = pd.DataFrame({"x": [0.1, 1.0, 2.0, 3.5]})
    return LinearRegression().fit(rows, [1.0, 3.0, 5.0, 8.0]), rows


def python(project: Path) -> tuple[Any, Any]:
    (project / "predict.py").write_text(_PYTHON)
    weights = project.parent / "weights"
    weights.mkdir()
    return weights, [{"count": 3, "word": "x"}, {"count": 4, "word": None}]


def write(name: str, root: Path) -> None:
    """Make a model in this process, and its image."""
    script(root / "environment" / "bin" / "python", f'exec {sys.executable} "$@"')
    made = {"frame": frame, "pipeline": pipeline, "array": array, "one_column": one_column}.get(name)
    model, example = made() if made else python(root / "project")
    (root / "model").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "project")
        write_model(root / "model", model, example, flavor=None if made else "python")
        sys.modules.pop("predict", None)
