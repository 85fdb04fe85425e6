"""The models that the benchmark of the server asks, each laid out as its image would be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fixtures_compilation import Workshop

from modelyard.environments import ensure, ensure_converters, ensure_server, python_of, read_lock
from modelyard.images.interpreter import Interpreter
from modelyard.images.layout import Layout

# Its lock is the environment that all three are trained in; the peers' environments have the same scikit-learn.
PROJECT = Path(__file__).parents[3] / "include" / "examples" / "houses"

_HOUSES = """
import numpy as np, pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
table = pd.read_csv(HOUSES / "houses.csv").dropna()
X, y = table.drop(columns="price"), (table.price > 300000).astype(int)
X["year"] = X["year"].astype(int)
example = X[:100]
text, number = OneHotEncoder(handle_unknown="ignore"), make_pipeline(SimpleImputer(), StandardScaler())
"""
PIPELINE = f"""{_HOUSES}
prepared = make_column_transformer((text, ["district", "garden"]), (number, ["area", "rooms", "year"]))
model = make_pipeline(prepared, LogisticRegression()).fit(X, y)
"""
BOOSTING = """
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
X, y = load_breast_cancer(return_X_y=True, as_frame=True)
example = X[:100]
model = HistGradientBoostingClassifier().fit(X, y)
"""
# A function is nothing that a converter could know.
UNCOMPILED = f"""{_HOUSES}
logarithm = FunctionTransformer(np.log1p, feature_names_out="one-to-one")
prepared = make_column_transformer(
    (text, ["district", "garden"]), (logarithm, ["area"]), (number, ["rooms", "year"])
)
model = make_pipeline(prepared, LogisticRegression()).fit(X, y)
"""


@dataclass(frozen=True)
class Subject:
    """One model.

    Attributes:
        root: the folder that an image of it has.
        columns: the names of its inputs, with the datatype of each.
        rows: 100 real inputs.
        compiled: it is served compiled.
        sizes: rows of a request that are measured.
    """

    name: str
    root: Path
    columns: dict[str, str]
    rows: list[dict[str, Any]]
    compiled: bool
    sizes: tuple[int, ...]

    @property
    def joblib(self) -> Path:
        """The model as scikit-learn's users pass it on, which every peer reads."""
        return self.root / "model" / "model.joblib"

    @property
    def python(self) -> Path:
        """The interpreter with the packages that it was trained with."""
        return self.root / "environment" / "bin" / "python"


NAMES = ("pipeline", "boosting", "uncompiled")


def prepare(folder: Path, home: Path, names: list[str]) -> list[Subject]:
    """Train those of ``NAMES`` and lay them out in ``folder``; ``home`` keeps their environments from run to run."""
    images, version = Layout(home / "images"), Interpreter.of_this_machine().python
    project = python_of(ensure(read_lock(PROJECT / "requirements.txt"), images, home, print), images, home)
    server = python_of(ensure_server(images, home, print, version), images, home)
    converters = python_of(ensure_converters(images, home, print), images, home).parents[1]
    workshop = Workshop(home, converters / "lib" / f"python{version}" / "site-packages", server)
    subjects = []
    for name, code, compiled, sizes in (
        ("pipeline", PIPELINE, True, (1, 100)),
        ("boosting", BOOSTING, True, (1,)),
        ("uncompiled", UNCOMPILED, False, (1,)),
    ):
        if name not in names:
            continue
        root = folder / name
        workshop.write(root, code, project)
        if compiled:
            workshop.compile(root, python=project)
        (root / "environment").symlink_to(project.parents[1])
        (root / "server").symlink_to(server.parents[1])
        facts = json.loads((root / "model" / "modelyard.json").read_bytes())
        columns = {field["name"]: field["datatype"] for field in facts["signature"]["inputs"]}
        subjects.append(Subject(name, root, columns, facts["golden"]["inputs"], compiled, sizes))
    return subjects
