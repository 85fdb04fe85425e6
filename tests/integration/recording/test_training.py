"""A project's training, as the train step runs it: a real child in an environment of its own, a real database."""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelyard import data
from modelyard.credential_places import credential_places
from modelyard.errors import RequestError, TrainingFailed
from modelyard.recording import Finished, register, train
from modelyard.store import Store

HEAD = """
from modelyard import log_data, log_model
from sacred import Experiment
import numpy as np

ex = Experiment("line")

@ex.config
def config():
    slope = 1.0
    model = {"name": "plain", "layers": [1]}
"""

WHOLE = """
import os, sys
from pathlib import Path
import pandas as pd
from sklearn.linear_model import LinearRegression

@ex.automain
def main(_run, _rnd, slope, model, data, seed):
    frame = pd.read_csv(data["points-1"])
    print("trained on", len(frame), "points", file=sys.stderr)
    fitted = LinearRegression().fit(frame[["x"]], frame["y"] * slope)
    for step in range(3):
        _run.log_scalar("loss", 1 / (step + 1), step)
    _run.log_scalar("best", np.float32(0.5))
    _run.info["shape"] = np.arange(4).reshape(2, 2)
    Path("curve.txt").write_text("a curve")
    _run.add_artifact("curve.txt")
    _run.add_resource("train.py")
    log_data(_run, "held-out", frame[:2], role="evaluation", target="y")
    log_model(_run, fitted, example=frame[["x"]][:2])
    return np.float64(0.25)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "line"
    folder.mkdir()
    (folder / "points.csv").write_text("x,y\n1,2\n2,4\n3,6\n")
    return folder


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def training(
    store: Store, project: Path, project_python: Path, tmp_path: Path, lines: list[str]
) -> Callable[..., Finished]:
    """``train`` with this project: give its body, and what shall be otherwise."""

    def start(body: str, *, entry: str = "train.py", declared: bool = True, **otherwise: Any) -> Finished:
        if entry.endswith(".py"):
            (project / entry).write_text(HEAD + textwrap.dedent(body))
        path = project / "points.csv"
        uri, work = "points.csv", tmp_path / "work"
        work.mkdir(exist_ok=True)
        fingerprint = data.fingerprint(path, name="points-1", role="train", uri=uri, target="y")
        arguments: dict[str, Any] = {
            "store": store,
            "pipeline_run": "f" * 64,
            "clear_number": 0,
            "project": project,
            "entry": entry,
            "python": project_python,
            "config_updates": {},
            "data_paths": {"points-1": path} if declared else {},
            "data": [fingerprint] if declared else [],
            "seed": None,
            "commit": "c0ffee",
            "dirty": True,
            "lock": None,
            "hidden": credential_places(tmp_path),
            "workdir": work,
            "log": lines.append,
        }
        return train(**{**arguments, **otherwise})

    return start


def test_a_run_is_recorded_as_sacred_records_it(training: Any, store: Store, project: Path, lines: list[str]):
    updates = {"slope": 2.0, "model.name": 'quoted "name" = 5\n', "model.layers": [1, None, True]}
    finished = training(WHOLE, config_updates=updates, seed=7)

    run = store.runs.get(finished.run_id)
    assert run["status"] == "COMPLETED"
    assert run["format"].startswith("MongoObserver")
    assert run["config"]["model"] == {"name": 'quoted "name" = 5\n', "layers": [1, None, True]}
    assert (run["config"]["slope"], run["config"]["seed"]) == (2.0, 7)
    assert run["meta"]["modelyard"] == {"pipeline_run": "f" * 64, "clear_number": 0}
    assert run["experiment"]["repositories"] == [{"url": "line", "commit": "c0ffee", "dirty": True}]
    assert run["result"] == 0.25
    assert run["info"]["shape"] == [[0, 1], [2, 3]]
    assert "trained on 3 points" in run["captured_out"]
    assert any("trained on 3 points" in line for line in lines)
    assert run["resources"][0][0].endswith("train.py")
    assert run["host"]["python_version"]
    assert run["heartbeat"] is not None

    metrics = store.runs.metrics(finished.run_id)
    assert metrics["loss"]["steps"] == [0, 1, 2]
    assert metrics["best"]["values"] == [0.5]
    assert sorted(entry["name"] for entry in run["info"]["metrics"]) == ["best", "loss"]


def test_a_completed_run_is_taken_up_until_a_person_clears_it(training: Any, store: Store, lines: list[str]):
    finished = training(WHOLE)
    assert training(WHOLE) == finished
    assert any("taken up" in line for line in lines)
    assert training(WHOLE, clear_number=1).run_id != finished.run_id


def test_sources_are_in_gridfs_and_files_are_not(training: Any, store: Store, project: Path):
    finished = training(WHOLE)
    database = store.mongo[store.address.database]
    run = store.runs.get(finished.run_id)
    assert [name for name, _ in run["experiment"]["sources"]] == ["train.py"]
    stored = list(database["fs.files"].find())
    assert [file["filename"] for file in stored] == [f"{project}/train.py"]
    assert run["artifacts"] == []
    assert store.artifacts.read(finished.artifacts["curve.txt"].digest) == b"a curve"
    training(WHOLE)
    assert database["fs.files"].count_documents({}) == 1, "the same source again is the same file"


def test_model_and_data_are_kept_by_digest(training: Any, store: Store):
    finished = training(WHOLE, config_updates={"slope": 3.0})
    files = {file.path: file for file in finished.model}
    assert set(files) == {"model.joblib", "modelyard.json"}
    facts = store.artifacts.read_json(files["modelyard.json"].digest)
    assert facts["golden"]["outputs"]["prediction"] == pytest.approx([6.0, 12.0])
    assert [(item.name, item.role, item.uri, item.rows, item.columns) for item in finished.data] == [
        ("points-1", "train", "points.csv", 3, ("x", "y")),
        ("held-out", "evaluation", "log_data", 2, ("x", "y")),
    ]
    assert store.artifacts.read(finished.data[1].digest) == b"x,y\n1,2\n2,4\n"
    again = training(WHOLE, config_updates={"slope": 3.0})
    assert again.model == finished.model, "the same training gives the same bytes"


def test_a_finished_run_becomes_one_version(training: Any, store: Store, project: Path):
    finished = training(WHOLE)
    store.artifacts.put_file(project / "points.csv")
    facts: dict[str, Any] = {
        "name": "line",
        "run_id": finished.run_id,
        "model": finished.model,
        "data": finished.data,
        "artifacts": finished.artifacts,
        "commit": None,
        "committed_at": None,
        "dirty": False,
        "diff_digest": None,
        "project_digest": store.artifacts.put_bytes(b"tar", "tar").digest,
        "lock_digest": None,
        "environment": None,
        "package_differences": (),
        "created_by": "airflow",
        "pipeline_run": "f" * 64,
    }
    version = register(store, **facts)
    assert (version.version, version.run_id) == (1, finished.run_id)
    assert version.metrics == {"best": 0.5, "loss": pytest.approx(1 / 3)}
    assert version.signature["inputs"][0]["name"] == "x"
    assert register(store, **facts).version == 1
    named = {item["name"] for item in store.runs.get(finished.run_id)["info"]["modelyard"]["artifacts"]}
    assert named == {"curve.txt", "model/model.joblib", "model/modelyard.json", "data/points-1", "data/held-out"}


def test_what_an_earlier_try_left_open_is_interrupted(training: Any, store: Store):
    runs = store.mongo[store.address.database]["runs"]
    abandoned = {"_id": 1, "status": "RUNNING", "stop_time": None, "meta": {"modelyard": {"pipeline_run": "f" * 64}}}
    foreign = {"_id": 2, "status": "RUNNING", "stop_time": None, "meta": {"modelyard": {"pipeline_run": "e" * 64}}}
    runs.insert_many([abandoned, foreign])
    assert training(WHOLE).run_id == 3
    assert [run["status"] for run in runs.find(sort=[("_id", 1)])] == ["INTERRUPTED", "RUNNING", "COMPLETED"]


LOOK_AROUND = """
import json, os
from pathlib import Path

@ex.automain
def main(_run):
    found = [dict(os.environ)]
    for process in Path("/proc").glob("[0-9]*/environ"):
        try:
            found.append(process.read_bytes().decode(errors="replace"))
        except OSError:
            continue
    Path("found.json").write_text(json.dumps(found))
"""


def test_the_code_finds_no_credential(training: Any, project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    other = subprocess.Popen(["/bin/sleep", "60"])  # as Modelyard's other processes, with what this one has
    try:
        with pytest.raises(TrainingFailed, match="no model"):
            training(LOOK_AROUND, declared=False)
    finally:
        other.kill()
        other.wait()
    found = json.loads((project / "found.json").read_text())
    assert found[0]["HOME"] != os.environ["HOME"]
    assert "hunter2" not in str(found if os.geteuid() == 0 else found[0])


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ("@ex.automain\ndef main(): raise ValueError('no data')", "FAILED", "ValueError: no data"),
        ("@ex.automain\ndef main(): import os; os.kill(os.getpid(), 9)", "INTERRUPTED", "SIGKILL"),
        ("@ex.automain\ndef main(): import os; os._exit(3)", "FAILED", "exit code 3"),
        ("@ex.automain\ndef main(): import os; os.abort()", "FAILED", "SIGABRT"),
        ("@ex.automain\ndef main(): return 1", "COMPLETED", "logged no model"),
    ],
)
def test_a_failure_is_in_the_run_and_in_the_error(training: Any, store: Store, body: str, status: str, says: str):
    with pytest.raises(TrainingFailed, match=says):
        training(body, declared=False)
    run = store.runs.get(1)
    assert run["status"] == status
    assert run["stop_time"] is not None
    if status != "COMPLETED":
        assert says in "".join(run["fail_trace"])


@pytest.mark.parametrize(
    ("body", "updates", "kind", "says"),
    [
        ("print('no run')", {}, TrainingFailed, "without running a Sacred experiment"),
        ("@ex.main\ndef main(): pass\nex.run()", {"slope": 2.0}, RequestError, "slope = 1.0 in its config, and 2.0"),
        # Sacred's own refusal: no function takes it.
        ("@ex.automain\ndef main(): pass", {"unheard": 1}, TrainingFailed, "exit code 1"),
    ],
)
def test_an_entry_that_does_not_listen_is_refused(
    training: Any, store: Store, body: str, updates: dict[str, Any], kind: type[Exception], says: str
):
    with pytest.raises(kind, match=says):
        training(body, declared=False, config_updates=updates)
    assert store.mongo[store.address.database]["runs"].count_documents({}) == 0
