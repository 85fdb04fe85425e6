"""A project's packages and Modelyard's never meet, and its code finds no credential wherever it can look."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from secrets import token_hex

from dulwich import porcelain
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

PREDICT = """\
import numpy


def load(folder):
    return float((folder / "factor").read_text())


def predict(model, rows):
    assert numpy.__version__ == "2.2.6", numpy.__version__
    return [row["x"] * model for row in rows]
"""

# `needle` comes reversed, so that the argument that carries it is none of the places where it is found.
TRAIN = '''\
import os
from importlib.metadata import distributions, version
from pathlib import Path

from modelyard import log_model
from sacred import Experiment

ex = Experiment("alone")


@ex.config
def config():
    pinned = {}
    needle = ""


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


def places():
    """Yield each place where a credential may lie: its name, and a function that reads it in parts."""
    yield "os.environ", lambda: [repr(dict(os.environ)).encode()]
    for folder in (Path.cwd().parent, Path.home()):
        for path in folder.rglob("*"):
            if path.is_file():
                yield str(path), lambda path=path: [path.read_bytes()]
    for process in ("self", *parents()):
        for name in ("environ", "cmdline"):
            yield f"{name} of {process}", lambda path=Path(f"/proc/{process}/{name}"): [path.read_bytes()]
        try:
            descriptors = list(Path(f"/proc/{process}/fd").iterdir())
        except PermissionError:
            descriptors = []
        for path in descriptors:
            if os.path.isfile(path):  # and it may be followed
                yield str(path), lambda path=path: [path.read_bytes()]
        if process != "self":
            yield f"memory of {process}", lambda process=process: memory(process)


def found(needle):
    where = []
    for name, read in places():
        try:
            if any(needle in part for part in read()):
                where.append(name)
        except (PermissionError, FileNotFoundError):
            pass
    return where


@ex.automain
def main(_run, pinned, needle):
    assert {name: version(name) for name in pinned} == dict(pinned)
    assert not [one.name for one in distributions() if one.name == "modelyard"]
    needle = needle[::-1].encode()
    assert len(list(parents())) > 0
    assert found(needle) == []

    # The search finds what is there.
    os.environ["PLANTED"] = needle.decode()
    planted = Path.home() / "planted"
    planted.write_bytes(needle)
    where = found(needle)
    assert "os.environ" in where, where
    assert str(planted) in where, where
    assert any(needle in part for part in memory("self"))
    planted.unlink()
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


def test_other_packages_run_unharmed_and_find_no_credential(yard: Yard, tmp_path: Path) -> None:
    assert all(version(name) != pin for name, pin in PINNED.items())
    project = make_alone(tmp_path / "alone", yard.home)
    marker = token_hex(16)
    separator = "&" if "?" in yard.address.mongo_uri else "/?"
    yard.address = replace(
        yard.address, mongo_uri=f"{yard.address.mongo_uri}{separator}appname={marker}", s3_secret_key=marker
    )
    assert yard.run(project, config__pinned=PINNED, config__needle=marker[::-1]) == 0, yard.said
    assert marker not in yard.said
    with yard.open() as store:
        live = store.deployments.live("alone", "production")
    assert live is not None
    assert live.address is not None
    assert ask(live.address, {"x": 1.5})[0] == {"prediction": 3.0}
