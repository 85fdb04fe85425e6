"""A project's packages and Modelyard's never meet, and its code finds no credential wherever it can look."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from dulwich import porcelain
from tests.landlock import needs_landlock
from tests.yard import EXAMPLES, Yard, ask, commit

from modelyard.project.write_lock import write_lock

# Of all three Modelyard's own environment has others; wheels of these are there for each Python it runs on.
PINNED = {"pymongo": "4.10.1", "pydantic": "1.10.24", "numpy": "2.2.6"}
NEEDED_BY_THEM = {"dnspython": "2.7.0", "typing-extensions": "4.12.2"}
NOT_NEEDED = {"cloudpickle", "joblib", "numpy", "pandas", "python-dateutil", "pytz", "scikit-learn", "scipy"} | {
    "threadpoolctl",
    "tzdata",
}

MODEL_YAML = """\
name: alone
owner: {name: Tester, url: "mailto:tester@example.com"}
"""

# Wherever a model is loaded (in the step that trains, the one that validates, the server of its image), it lies in the
# machine's folder, and looks from there for what `plant` has put beside it.
PREDICT = """\
from pathlib import Path

import numpy


def refused(path):
    try:
        path.read_bytes()
    except PermissionError:
        return True
    return False


def load(folder):
    planted = [
        home / name / "planted"
        for home in Path(folder).resolve().parents
        for name in ("mongo", "airflow")
        if (home / name / "planted").is_file()
    ]
    assert len(planted) == 2, planted
    assert all(map(refused, planted))
    return float((folder / "factor").read_text())


def predict(model, rows):
    assert numpy.__version__ == "2.2.6", numpy.__version__
    return [row["x"] * model for row in rows]
"""

# `needle` comes reversed, so that the argument that carries it is none of the places where it is found.
TRAIN = '''\
import os
import subprocess
import time
from importlib.metadata import distributions, version
from pathlib import Path

from modelyard import log_model
from sacred import Experiment

ex = Experiment("alone")


@ex.config
def config():
    pinned = {}
    needle = ""
    planted = []
    witness = 0


def memory(process):
    """Yield all that can be read of a process's memory."""
    with open(f"/proc/{process}/maps") as maps, open(f"/proc/{process}/mem", "rb", buffering=0) as mem:
        for line in maps:
            first, last = (int(address, 16) for address in line.split()[0].split("-"))
            if line.split()[1].startswith("r") and last < 2**63:
                try:
                    mem.seek(first)
                    yield mem.read(last - first)
                except OSError:  # the kernel's own pages
                    pass


def parents():
    """Yield this process's parent, its parent and so on, the step's process last."""
    process = os.getpid()
    while True:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        yield process
        if b"--pipeline-run" in Path(f"/proc/{process}/cmdline").read_bytes():
            return


def of_this_user():
    """Yield every process of this user but this one, hidden ones included where the user is root."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and int(entry.name) != os.getpid() and entry.stat().st_uid == os.getuid():
                yield int(entry.name)
        except FileNotFoundError:
            pass


def places(planted=()):
    """Yield each place where a credential may lie: its name, and a function that reads it in parts."""
    yield "os.environ", lambda: [repr(dict(os.environ)).encode()]
    for path in planted:
        yield path, lambda path=path: [Path(path).read_bytes()]
    machine = Path.cwd().parents[2]
    for folder in (Path.cwd().parent, Path.home(), machine / "mongo", machine / "airflow"):
        assert folder.is_dir(), folder
        for path in folder.rglob("*"):
            if path.is_file():
                yield str(path), lambda path=path: [path.read_bytes()]
    for process in ("self", *{*parents(), *of_this_user()}):
        for name in ("environ", "cmdline"):
            yield f"{name} of {process}", lambda path=Path(f"/proc/{process}/{name}"): [path.read_bytes()]
    for process in ("self", *parents()):
        try:
            descriptors = list(Path(f"/proc/{process}/fd").iterdir())
        except PermissionError:
            descriptors = []
        for path in descriptors:
            if os.path.isfile(path):  # and it may be followed
                yield str(path), lambda path=path: [path.read_bytes()]
        if process != "self":
            yield f"memory of {process}", lambda process=process: memory(process)


def found(needle, planted=()):
    where = []
    for name, read in places(planted):
        try:
            if any(needle in part for part in read()):
                where.append(name)
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            pass
    return where


@ex.automain
def main(_run, pinned, needle, planted, witness):
    assert {name: version(name) for name in pinned} == dict(pinned)
    assert not [one.name for one in distributions() if one.name == "modelyard"]
    needle = needle[::-1].encode()
    assert len(list(parents())) > 0
    # It is in each of these files, and in the environment of this process.
    assert len(planted) == 3
    assert all(os.path.getsize(path) == len(needle) for path in planted), planted
    assert Path(f"/proc/{witness}/cmdline").read_bytes().startswith(b"sleep"), witness
    assert witness in of_this_user()
    assert found(needle, planted) == []

    # The search finds what is there.
    os.environ["PLANTED"] = needle.decode()
    own = Path.home() / "planted"
    own.write_bytes(needle)
    with subprocess.Popen(["sleep", "600"]) as child:
        while not Path(f"/proc/{child.pid}/cmdline").read_bytes().startswith(b"sleep"):
            time.sleep(0.01)
        where = found(needle, planted)
        child.kill()
    assert "os.environ" in where, where
    assert f"environ of {child.pid}" in where, where
    assert str(own) in where, where
    assert any(needle in part for part in memory("self"))
    own.unlink()
    del os.environ["PLANTED"]

    folder = Path("trained")
    folder.mkdir()
    (folder / "factor").write_text("2.0")
    log_model(_run, folder, example=[{"x": 1.5}], flavor="python")
'''


def make_alone(folder: Path, home: Path) -> Path:
    """Write the project into a Git repository of its own, locked, and return its folder."""
    folder.mkdir()
    locked = json.loads((EXAMPLES / "wine" / "Pipfile.lock").read_bytes())["default"]
    pins = {name: pin["version"].removeprefix("==") for name, pin in locked.items() if name not in NOT_NEEDED}
    pins |= PINNED | NEEDED_BY_THEM
    (folder / "requirements.txt").write_text("".join(f"{name}=={pin}\n" for name, pin in pins.items()))
    (folder / "model.yaml").write_text(MODEL_YAML)
    (folder / "predict.py").write_text(PREDICT)
    (folder / "train.py").write_text(TRAIN)
    write_lock(folder, home, print)
    porcelain.init(folder)
    commit(folder)
    return folder


def plant(marker: str, yard: Yard, airflow_home: Path) -> list[Path]:
    """Put a marker where this machine keeps credentials; return the files."""
    planted = [yard.home / "mongo" / "planted", yard.home / "airflow" / "planted", airflow_home / "airflow.cfg"]
    for path in planted:
        path.parent.mkdir()
        path.write_text(marker)
    return planted


@needs_landlock
def test_other_packages_run_unharmed_and_find_no_credential(
    yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert all(version(name) != pin for name, pin in PINNED.items())
    project = make_alone(tmp_path / "alone", yard.home)
    marker = token_hex(16)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    planted = plant(marker, yard, tmp_path / "airflow")
    separator = "&" if "?" in yard.address.mongo_uri else "/?"
    yard.address = replace(
        yard.address, mongo_uri=f"{yard.address.mongo_uri}{separator}appname={marker}", s3_secret_key=marker
    )
    with subprocess.Popen(["sleep", "3600"], env={"PLANTED": marker}) as witness:
        config: dict[str, Any] = {
            "pinned": PINNED,
            "needle": marker[::-1],
            "planted": list(map(str, planted)),
            "witness": witness.pid,
        }
        code = yard.run(project, **{f"config__{name}": value for name, value in config.items()})
        witness.kill()
    assert code == 0, yard.said
    assert marker not in yard.said
    with yard.open() as store:
        live = store.deployments.live("alone", "production")
    assert live is not None
    assert live.address is not None
    assert ask(live.address, {"x": 1.5})[0] == {"prediction": 3.0}
