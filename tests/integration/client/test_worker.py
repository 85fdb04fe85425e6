"""A model in a process of its own, in the project's environment, asked over its socket."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.client.child import environment, lay_client
from modelyard.client.scorer import Scorer, ScorerError

SAVE = """
import sys
from pathlib import Path
from modelyard.client.model import write_model
import pandas as pd
from features import double
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1, 0, 1]})
model = make_pipeline(FunctionTransformer(double), LinearRegression()).fit(frame, [1.0, 2.0, 3.0])
write_model(Path(sys.argv[1]), model, frame[:2])
"""

# A model that is no estimator of any library: two files and the project's own predict.py.
SAVE_FOLDER = """
import sys
from pathlib import Path
from modelyard.client.model import write_model

files = Path("files")
files.mkdir()
(files / "weights.txt").write_text("2 3")
write_model(Path(sys.argv[1]), files, [{"x": 1.0}, {"x": 2.0}], flavor="python")
"""

PREDICT = """
def load(folder):
    return [float(word) for word in (folder / "weights.txt").read_text().split()]

def predict(model, rows):
    return {"line": [model[0] * row["x"] + model[1] for row in rows], "label": ["up" for _ in rows]}
"""


class Project:
    """A project's folder, and how its processes are started."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder = folder / "project"
        self.model = folder / "model"
        self.python = python
        for path in (self.folder, self.model, folder / "home"):
            path.mkdir()
        code = [lay_client(folder / "client"), self.folder]
        self.environment = environment(python, folder / "home", code=code)

    def save(self, script: str) -> None:
        (self.folder / "save.py").write_text(script)
        command: list[str | Path] = [self.python, "save.py", self.model]
        subprocess.run(command, cwd=self.folder, env=self.environment, check=True, timeout=120)

    def scorer(self) -> Scorer:
        return Scorer(self.python, self.model, self.environment, hidden=())


@pytest.fixture
def project(tmp_path: Path, project_python: Path) -> Project:
    return Project(tmp_path, project_python)


@pytest.fixture
def scorer(project: Project) -> Iterator[Scorer]:
    (project.folder / "features.py").write_text("def double(frame):\n    return frame * 2\n")
    project.save(SAVE)
    with project.scorer() as scorer:
        yield scorer


def test_it_answers_as_the_model_did_with_the_projects_own_code(scorer: Scorer, project: Project):
    golden: dict[str, Any] = json.loads((project.model / "modelyard.json").read_bytes())["golden"]
    columns = {name: [row[name] for row in golden["inputs"]] for name in golden["inputs"][0]}
    assert scorer.predict(columns) == golden["outputs"]


def test_rows_it_cannot_take_are_an_error_and_the_next_are_answered(scorer: Scorer):
    with pytest.raises(ScorerError, match="KeyError: 'b'"):
        scorer.predict({"a": [1.0]})
    with pytest.raises(ScorerError, match="ValueError"):
        scorer.predict({"a": ["many"], "b": [1]})
    assert scorer.predict({"b": [0], "a": [2.0]})["prediction"] == pytest.approx([2.0])


def test_a_model_of_files_is_asked_by_predict_py(project: Project):
    (project.folder / "predict.py").write_text(PREDICT)
    project.save(SAVE_FOLDER)
    facts = json.loads((project.model / "modelyard.json").read_bytes())
    assert [(entry["name"], entry["datatype"]) for entry in facts["signature"]["outputs"]] == [
        ("line", "FP64"),
        ("label", "BYTES"),
    ]
    with project.scorer() as scorer:
        assert scorer.predict({"x": [10.0]}) == {"line": [23.0], "label": ["up"]}


def test_a_model_that_cannot_be_loaded_is_told(project: Project):
    (project.model / "modelyard.json").write_text('{"flavor": "sklearn", "files": {"model": "none"}, "signature": {}}')
    with project.scorer() as scorer, pytest.raises(ScorerError, match=r"has ended \(exit code 1\)"):
        scorer.predict({"x": [1]})


def test_its_process_ends_with_the_context(project: Project, scorer: Scorer):
    process = scorer._process
    scorer.predict({"a": [1.0], "b": [1]})
    scorer.__exit__(None, None, None)
    assert process.returncode == 0
