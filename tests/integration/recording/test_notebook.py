"""A notebook is trained as a script is: its kernel in the project's environment, papermill in Modelyard's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelyard.credential_places import credential_places
from modelyard.errors import RequestError, TrainingFailed
from modelyard.recording import train
from modelyard.store import Store

PARAMETERS = "config_updates = {}"
DEFINE = """
from modelyard import log_model
from sacred import Experiment
from sklearn.linear_model import LinearRegression
ex = Experiment("line", interactive=True)
@ex.config
def config():
    slope = 1.0
    model = {"name": "plain"}
@ex.main
def main(_run, slope, model):
    print("slope is", slope)
    fitted = LinearRegression().fit([[1.0], [2.0]], [slope, 2 * slope])
    log_model(_run, fitted, example=[[1.0]])
"""
RUN = "run = ex.run(config_updates=config_updates)"
LOOK = "import json, os, pathlib; pathlib.Path('environment.json').write_text(json.dumps(dict(os.environ)))"


def notebook(folder: Path, *cells: str) -> Path:
    path = folder / "train.ipynb"
    described: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": f"cell-{number}",
            "metadata": {"tags": ["parameters"]} if source == PARAMETERS else {},
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate(cells)
    ]
    path.write_text(json.dumps({"cells": described, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


@pytest.fixture
def arguments(store: Store, project_python: Path, tmp_path: Path) -> dict[str, Any]:
    folder, work = tmp_path / "line", tmp_path / "work"
    folder.mkdir()
    work.mkdir()
    lines: list[str] = []
    return {
        "store": store,
        "pipeline_run": "f" * 64,
        "clear_number": 0,
        "project": folder,
        "entry": "train.ipynb",
        "python": project_python,
        "config_updates": {},
        "data_paths": {},
        "data": [],
        "seed": 3,
        "commit": None,
        "dirty": False,
        "lock": None,
        "hidden": credential_places(tmp_path),
        "workdir": work,
        "log": lines.append,
    }


def test_a_notebook_gets_the_config_and_is_kept_executed(
    arguments: dict[str, Any], store: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    folder = arguments["project"]
    notebook(folder, PARAMETERS, DEFINE, LOOK, RUN)
    finished = train(**{**arguments, "config_updates": {"slope": 4.0, "model.name": "other"}})
    run = store.runs.get(finished.run_id)
    assert (run["config"]["slope"], run["config"]["model"], run["config"]["seed"]) == (4.0, {"name": "other"}, 3)
    assert "slope is 4.0" in run["captured_out"]
    assert any("slope is 4.0" in line for line in arguments["log"].__self__)
    executed = json.loads(store.artifacts.read(finished.artifacts["train.ipynb"].digest))
    assert any("slope is 4.0" in json.dumps(cell.get("outputs")) for cell in executed["cells"])
    environment = json.loads((folder / "environment.json").read_text())
    assert "hunter2" not in str(environment)


def test_a_cell_that_fails_fails_the_training(arguments: dict[str, Any], store: Store):
    notebook(
        arguments["project"], PARAMETERS, DEFINE.replace('print("slope is", slope)', "raise ValueError('no data')"), RUN
    )
    with pytest.raises(TrainingFailed, match="ValueError: no data"):
        train(**arguments)
    assert store.runs.get(1)["status"] == "FAILED"


def test_a_notebook_that_does_not_listen_is_refused(arguments: dict[str, Any]):
    notebook(arguments["project"], PARAMETERS, DEFINE, "run = ex.run()")
    with pytest.raises(RequestError, match=r"ex\.run\(config_updates=config_updates\) in a notebook"):
        train(**{**arguments, "config_updates": {"slope": 4.0}})
