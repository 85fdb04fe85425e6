"""A laptop: plain `python train.py` in a project's own environment, the store's address in the environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from dulwich import porcelain

import modelyard
from modelyard import embedded
from modelyard.store import Store, StoreAddress

MODEL = """
name: line
description: A line
entry: train.py
tags: [demo]
data:
  points: {uri: points.csv, target: y, role: train}
"""

TRAIN = """
from modelyard import log_model
import pandas as pd
from sacred import Experiment
from sklearn.linear_model import LinearRegression

ex = Experiment("line")

@ex.config
def config():
    slope = 1.0
    wait = False
    data = {"points": "points.csv"}

@ex.automain
def main(_run, slope, wait, data):
    print("training", flush=True)
    while wait:
        pass
    frame = pd.read_csv(data["points"])
    model = LinearRegression().fit(frame[["x"]], frame["y"] * slope)
    _run.log_scalar("score", model.score(frame[["x"]], frame["y"] * slope))
    log_model(_run, model, example=frame[["x"]])
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in a Git repository, clean, whose lock pins another pandas than there is."""
    folder = tmp_path / "line"
    folder.mkdir()
    (folder / "model.yaml").write_text(MODEL)
    (folder / "train.py").write_text(TRAIN)
    (folder / "points.csv").write_text("x,y\n1,2\n2,4\n3,6\n")
    (folder / "requirements.txt").write_text("pandas==1.0.0\nsacred==0.8.7\n")
    porcelain.init(str(folder)).close()
    porcelain.add(str(folder), [str(path) for path in folder.iterdir() if path.is_file()])
    porcelain.commit(str(folder), message=b"first", author=b"a <a@b>", committer=b"a <a@b>")
    return folder


@pytest.fixture
def start(project: Path, project_python: Path, store_address: StoreAddress) -> Start:
    """Start `python train.py …` there, with the address of the store unless told otherwise."""

    def start(*arguments: str, recorded: bool = True) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MODELYARD_")}
        # As if the client were installed in the project's environment; the command is in Modelyard's own.
        environment["PYTHONPATH"] = str(Path(modelyard.__file__).parent.parent)
        environment["HOME"] = str(project.parent)  # whoever runs this may have a store in theirs
        environment["MODELYARD_COMMAND"] = f"{sys.executable} -m modelyard"
        if recorded:
            environment |= store_address.to_environment()
        return subprocess.Popen(
            [project_python, "-W", "ignore", "train.py", *arguments],
            cwd=project,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def test_each_finished_run_is_a_candidate(start: Start, store: Store, project: Path):
    said = start("with", "slope=2.0").communicate(timeout=120)[1]
    assert said.rstrip().endswith("modelyard: recorded as run 1, candidate line:1")
    version = store.versions.get("line", 1)
    run = store.runs.get(version.run_id)
    assert run["status"] == "COMPLETED"
    assert run["config"]["slope"] == 2.0
    assert (version.dirty, version.diff_digest, version.pipeline_run, version.environment) == (False, None, None, None)
    assert len(version.commit or "") == 40
    assert run["experiment"]["repositories"][0]["commit"] == version.commit
    assert [(item.name, item.uri, item.rows) for item in version.data] == [("points", "points.csv", 3)]
    assert any("pandas" in line and "1.0.0" in line for line in version.package_differences)
    assert version.metrics == {"score": 1.0}
    assert version.tags == ("demo",)
    assert store.artifacts.exists(version.project_digest)

    (project / "train.py").write_text(TRAIN.replace("slope = 1.0", "slope = 3.0"))
    said = start().communicate(timeout=120)[1]
    assert "recorded as run 2, candidate line:2" in said
    second = store.versions.get("line", 2)
    assert second.dirty
    assert second.commit == version.commit
    assert "+    slope = 3.0" in store.artifacts.read(second.diff_digest or "").decode()


def test_without_a_lock_the_packages_are_not_compared(start: Start, store: Store, project: Path):
    (project / "requirements.txt").rename(project / "requirements-dev.txt")
    said = start().communicate(timeout=120)[1]
    assert "modelyard: the packages are not compared with a lock: the project has none that counts" in said
    assert said.rstrip().endswith("modelyard: recorded as run 1, candidate line:1")
    version = store.versions.get("line", 1)
    assert (version.lock_digest, version.package_differences) == (None, ())


def test_ctrl_c_is_an_interrupted_run(start: Start, store: Store):
    process = start("with", "wait=True")
    assert process.stdout is not None
    assert process.stdout.readline() == "training\n"
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert "recorded as run 1: INTERRUPTED" in said
    assert store.runs.get(1)["status"] == "INTERRUPTED"


def test_a_killed_process_leaves_an_interrupted_run(start: Start, store: Store):
    process = start("with", "wait=True")
    assert process.stdout is not None
    assert process.stdout.readline() == "training\n"
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while store.runs.get(1)["status"] == "RUNNING" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert store.runs.get(1)["status"] == "INTERRUPTED"
    assert "ended without telling how" in store.runs.get(1)["fail_trace"][0]


def test_without_a_store_it_is_plain_sacred(start: Start, project: Path):
    process = start(recorded=False)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 0
    (line,) = [line for line in said.splitlines() if line.startswith("modelyard")]
    kept = Path(line.rpartition(" ")[2])
    assert kept.is_relative_to(project)
    assert {path.name for path in kept.iterdir()} == {"model.joblib", "modelyard.json"}


def test_the_store_of_this_machine_is_found_and_runs_again(start: Start, project: Path):
    home = project.parent / ".modelyard"
    embedded.start(home / "mongo")
    embedded.stop(home / "mongo")
    try:
        said = start(recorded=False).communicate(timeout=120)[1]
        assert said.rstrip().endswith("modelyard: recorded as run 1, candidate line:1")
        with Store.open(StoreAddress.from_environment({"MODELYARD_HOME": str(home)})) as store:
            assert store.versions.get("line", 1).metrics == {"score": 1.0}
    finally:
        embedded.stop(home / "mongo")


def test_a_store_out_of_reach_refuses_the_run_at_once(start: Start, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        StoreAddress, "to_environment", lambda _: {"MODELYARD_MONGO_URI": "mongodb://me:hunter2@127.0.0.1:9/"}
    )
    process = start()
    said = process.communicate(timeout=120)[1]
    assert process.returncode != 0
    assert "127.0.0.1:9 cannot be reached" in said
    assert "hunter2" not in said


def test_printing_the_config_records_nothing(start: Start, store: Store):
    process = start("print_config")
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert store.mongo[store.address.database]["runs"].count_documents({}) == 0
