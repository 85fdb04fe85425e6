"""The examples of the flavors, trained once a session in the environments of their own locks, and compiled."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
from tests.fixtures_compilation import Workshop
from tests.sharing import made_once, shared_folder
from uv import find_uv_bin

from modelyard.client.child import environment, lay_client
from modelyard.compilation import Compilation, Transcript, ask_golden, compile_model
from modelyard.validation.candidate import loaded

EXAMPLES = Path(__file__).parents[1] / "include/examples"
# By example, the library that may not be had for every machine. PyTorch's own packages for Linux are gigabytes of CUDA,
# so its CPU package is taken, where pip is told of one (PIP_FIND_LINKS).
_HEAVY = {
    "digits-keras": "JAX",
    "digits-torch": "PyTorch's CPU package",
    "parcels-pyfunc": "MLflow",
    "iris-tensorflow": "TensorFlow",
}
_INSTEAD = {
    "digits-torch": ("torch==2.13.0+cpu", "sacred==0.8.7", "setuptools<81", "numpy", "scikit-learn==1.7.2", "pandas"),
}

MakePython = Callable[[str], Path]


@dataclass(frozen=True)
class Trained:
    """An example after ``python train.py``, with no store.

    Attributes:
        python: the interpreter of its environment.
        project: a copy of its folder.
        model: the model directory.
        client: a folder with Modelyard's client, for PYTHONPATH.
    """

    python: Path
    project: Path
    model: Path
    client: Path

    def compile(self, workshop: Workshop, folder: Path) -> Compilation:
        """Ask the model for its golden rows, convert it and compare, as the pipeline does; all in an empty folder."""
        facts = json.loads((self.model / "modelyard.json").read_bytes())
        transcript = Transcript(folder / "transcript.jsonl")
        where = replace(workshop.where(folder, self.python), code=[self.client, self.project])
        (folder / "work").mkdir()
        with loaded(self.python, self.model, self.project, (), folder / "work") as model:
            ask_golden(replace(model, ask=transcript.of(model.ask)), facts["golden"])
        return compile_model(self.model, transcript, where, folder / "compilation", print)


Train = Callable[[str], Trained]


def train(python: Path, example: str, folder: Path) -> Trained:
    """Train a copy of an example in an empty folder."""
    project = Path(shutil.copytree(EXAMPLES / example, folder / "project"))
    client = lay_client(folder / "client")
    (folder / "home").mkdir()
    # The byte code stays in the environment, for the processes that come after this one.
    variables = environment(python, folder / "home", code=[client], PYTHONDONTWRITEBYTECODE="")
    subprocess.run([python, "-W", "ignore", "train.py", "with", "seed=42"], cwd=project, env=variables, check=True)
    (model,) = (project / ".modelyard/models").iterdir()
    return Trained(python, project, model, client)


@pytest.fixture(scope="session")
def flavor_python(tmp_path_factory: pytest.TempPathFactory) -> MakePython:
    """Make the environment of an example of include/examples once."""

    @cache
    def make(example: str) -> Path:
        if example in _HEAVY and "MODELYARD_FRAMEWORKS" not in os.environ:
            pytest.skip("large frameworks are to be downloaded: make test-frameworks")
        folder = shared_folder(tmp_path_factory, "flavors") / example
        made_once(folder, lambda: install(example, folder))
        return folder / "bin" / "python"

    def install(example: str, folder: Path) -> None:
        python = folder / "bin" / "python"
        uv = find_uv_bin()
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
        command: list[str | Path] = [uv, "pip", "install", "--quiet", "--only-binary", ":all:", "--python", python]
        if example in _INSTEAD:
            links = os.environ.get("PIP_FIND_LINKS")
            command += [*(["--find-links", links] if links else []), *_INSTEAD[example]]
        else:
            command += ["--require-hashes", "-r", EXAMPLES / example / "requirements.txt"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            if example not in _HEAVY:
                pytest.fail(done.stderr)
            pytest.skip(f"{_HEAVY[example]} cannot be installed here")

    return make


@pytest.fixture(scope="session")
def trained(flavor_python: MakePython, tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Train an example once."""

    @cache
    def once(example: str) -> Trained:
        return train(flavor_python(example), example, tmp_path_factory.mktemp(example))

    return once
