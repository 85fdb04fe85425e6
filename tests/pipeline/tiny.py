"""The smallest project that goes the whole way: its environment is Sacred's alone, so every step is quick."""

from __future__ import annotations

import json
from pathlib import Path

from dulwich import porcelain
from tests.yard import EXAMPLES, Yard, ask, commit

from modelyard.project.write_lock import write_lock

# To be added to model.yaml.
PROTECTED = """\
deployment: {environments: {production: {protected: true}}}
validation: {metrics: {accuracy: {min: 0.5}}}
"""

# A change of predict.py. Where it is tried beside a step, it is well: only a deployment knows the run's number.
LOADS_ONLY_BESIDE_A_STEP = (
    "def load(folder):\n",
    (
        "import os\n\n\ndef load(folder):\n"
        '    if "MODELYARD_RUN_ID" in os.environ:\n        raise RuntimeError("no license for this machine")\n'
    ),
)

_FILES = {
    ".gitignore": "__pycache__/\ntrained/\n",
    "model.yaml": """\
name: tiny
description: Above or below a threshold
owner: {name: Tester, url: "mailto:tester@example.com"}
entry: train.py
lock: Pipfile.lock
seed: 1
""",
    "predict.py": """\
def load(folder):
    return float((folder / "threshold").read_text())


def predict(model, rows):
    return ["high" if row["x"] > model else "low" for row in rows]
""",
    "train.py": """\
import time
from pathlib import Path

from modelyard import log_data, log_model
from sacred import Experiment

ex = Experiment("tiny")


@ex.config
def config():
    threshold = 0.5
    pause = 0.0  # seconds before it is trained


@ex.automain
def main(_run, threshold, pause):
    time.sleep(pause)
    rows = [{"x": x / 10, "y": "high" if x / 10 > threshold else "low"} for x in range(10)]
    log_data(_run, "points", rows, role="evaluation", target="y")
    for step in range(20):
        _run.log_scalar("loss", 1 / (step + 1), step)
    folder = Path("trained")
    folder.mkdir(exist_ok=True)
    (folder / "threshold").write_text(str(threshold))
    log_model(_run, folder, example=[{"x": 0.2}, {"x": 0.9}], flavor="python")
""",
}
_NOT_NEEDED = {"cloudpickle", "joblib", "numpy", "pandas", "python-dateutil", "pytz", "scikit-learn", "scipy"} | {
    "threadpoolctl",
    "tzdata",
}


def make_tiny(folder: Path, home: Path) -> Path:
    """Write the project into a Git repository of its own, locked with ``home``'s caches, and return its folder."""
    folder.mkdir()
    for name, text in _FILES.items():
        (folder / name).write_text(text)
    lock = json.loads((EXAMPLES / "wine" / "Pipfile.lock").read_bytes())
    lock["default"] = {name: pin for name, pin in lock["default"].items() if name not in _NOT_NEEDED}
    (folder / "Pipfile.lock").write_text(json.dumps(lock, indent=4))
    write_lock(folder, home, print)
    porcelain.init(folder)
    commit(folder)
    return folder


def assert_serves(yard: Yard, version: int) -> None:
    """Assert that this version is in production, by alias, record and its own answer."""
    with yard.open() as store:
        live = store.deployments.live("tiny", "production")
        alias = store.aliases.get("tiny", "production")
    assert live is not None
    assert live.address is not None
    assert alias is not None
    assert (live.version, alias.version) == (version, version)
    prediction, headers = ask(live.address, {"x": 0.9})
    assert prediction == {"prediction": "high"}
    assert headers["modelyard-model-version"] == str(version)


def assert_nothing_live(yard: Yard) -> None:
    """Assert that nothing is in production."""
    with yard.open() as store:
        assert store.deployments.live("tiny", "production") is None
        assert store.aliases.get("tiny", "production") is None
