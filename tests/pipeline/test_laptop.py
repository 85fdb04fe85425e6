"""Plain `python train.py` in the project's own environment makes candidates, which the pipeline releases or refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.pipeline.tiny import PROTECTED, assert_nothing_live, assert_serves
from tests.yard import Yard, change
from uv import find_uv_bin

from model_store.pages.compare import sections
from modelyard.cli import main
from modelyard.environments import read_lock

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Laptop:
    """A person's own virtual environment for the project, and the store's address in the shell."""

    yard: Yard
    project: Path
    bin: Path

    def install(self, *arguments: str) -> None:
        command = [find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--python", str(self.bin / "python")]
        subprocess.run([*command, *arguments], check=True)

    def train(self, *updates: str) -> str:
        """Run ``python train.py with …`` and return what it says last."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MODELYARD_")}
        environment |= self.yard.address.to_environment()
        # As after `activate`; the command that records runs is in an environment of its own.
        environment["PATH"] = os.pathsep.join([str(self.bin), str(Path(sys.executable).parent), "/usr/bin", "/bin"])
        command = ["python", "train.py", *(["with", *updates] if updates else [])]
        done = subprocess.run(command, cwd=self.project, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stderr.splitlines()[-1]


@pytest.fixture
def laptop(yard: Yard, tiny: Path, tmp_path: Path) -> Laptop:
    """An environment of just what is locked, and the client as `pip install` makes it of this repository."""
    change(yard, tiny, "model.yaml", lambda text: text + PROTECTED)
    folder = tmp_path / "venv"
    subprocess.run([find_uv_bin(), "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    laptop = Laptop(yard, tiny, folder / "bin")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(read_lock(tiny / "Pipfile.lock").to_requirements())
    laptop.install("--require-hashes", "--requirement", str(requirements))
    package = tmp_path / "package"  # a build writes beside its sources
    shutil.copytree(REPOSITORY / "include" / "modelyard", package / "include" / "modelyard")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(REPOSITORY / name, package)
    laptop.install(str(package))
    return laptop


def test_candidates_of_a_laptop_and_of_a_run_are_found_compared_and_released(yard: Yard, laptop: Laptop) -> None:
    assert laptop.train("threshold=0.4", "seed=1") == "modelyard: recorded as run 1, candidate tiny:1"
    assert yard.run(laptop.project, release=False, config__threshold=0.6) == 0, yard.said
    assert_nothing_live(yard)

    with yard.open() as store:
        newest_first = store.versions.find(name="tiny").versions
        found = store.versions.find(name="tiny", parameter={"threshold": 0.4}).versions
    assert [version.version for version in newest_first] == [2, 1]
    assert [(version.version, version.pipeline_run) for version in found] == [(1, None)]
    compared = sections([*reversed(newest_first)])
    assert [(row.name, row.cells) for row in compared["Configuration"] if row.differs] == [
        ("threshold", ("0.4", "0.6"))
    ]
    assert {row.name for row in compared["Code"] if row.differs} == {"created"}
    assert {"loss"} == {row.name for row in compared["Metrics"]}
    listed = CliRunner(env={**yard.address.to_environment(), "COLUMNS": "200"}).invoke(main, ["versions", "tiny"])
    assert [line.split()[0] for line in listed.output.splitlines()[1:]] == ["tiny:2", "tiny:1"]

    for version in (1, 2):
        assert yard.run(laptop.project, version=version) == 0, yard.said
        assert "train: skipped" in yard.said
        assert_serves(yard, version)
    with yard.open() as store:
        assert store.mongo[yard.address.database]["runs"].count_documents({}) == 2


def test_what_is_not_as_committed_and_locked_is_refused_with_the_difference(yard: Yard, laptop: Laptop) -> None:
    predict = laptop.project / "predict.py"
    clean = predict.read_text()
    predict.write_text(clean + "# not committed\n")
    assert laptop.train().endswith("candidate tiny:1")
    predict.write_text(clean)
    laptop.install("wrapt==1.17.2")
    assert laptop.train().endswith("candidate tiny:2")

    assert yard.run(laptop.project, version=1) == 65
    assert "tiny:1 cannot be released to 'production', which is protected" in yard.said
    assert "+# not committed" in yard.said
    assert "not as locked" not in yard.said
    assert yard.run(laptop.project, version=2) == 65
    assert "Its packages are not as locked: wrapt 1.17.2 is installed, the lock says 1.17.3." in yard.said
    assert "uncommitted" not in yard.said
    assert_nothing_live(yard)
