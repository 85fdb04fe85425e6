"""The same model in an image by others' means: a Dockerfile as one writes it by hand, and those that the peers write.

All are built without a cache, on the same base image, by a real Docker engine. What a peer's Dockerfile installs it
fetches while it is built, as it is written; the longest of its lines are rows of their own, so that the share of the
network can be seen.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import requests
from tests.benchmarks.images.measured import Measured
from tests.benchmarks.images.ours import LOCK, PYTHON, WINE, write_model
from tests.benchmarks.peers import servers
from tests.fixtures_docker import Engine

import modelyard

BY_HAND, BENTOML, MLFLOW = "by hand, wheels fetched", "BentoML's", "MLflow's"
BUILD, PUSH = "docker build", "docker push"
BUILT = "modelyard-benchmark"
_ACCEPT = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
_SHOWN_SECONDS = 2.0
_MODEL = """
import mlflow.sklearn
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(*load_wine(return_X_y=True, as_frame=True))
mlflow.sklearn.save_model(model, "model", serialization_format="cloudpickle")
"""


def by_dockerfile(folder: Path, engine: Engine, measured: Measured) -> tuple[dict[str, float], dict[str, str]]:
    """Build them all.

    Returns:
        The compressed megabytes above the base image of those that were built; why the others were not.
    """
    base = os.environ.get("BASE_IMAGE", f"python:{PYTHON}-slim")
    docker = Docker(engine)
    sizes: dict[str, float] = {}
    left_out: dict[str, str] = {}
    written: dict[str, Callable[[Path], tuple[Path, Path]]] = {BY_HAND: _by_hand, BENTOML: _bentoml, MLFLOW: _mlflow}
    try:
        docker.run("pull", "--quiet", base)
    except subprocess.CalledProcessError as error:
        return {}, dict.fromkeys(written, f"docker pull {base}: {error.stderr.strip()}")
    below = docker.pushed(base, "base")
    for name, write in written.items():
        own = folder / str(len(sizes) + len(left_out))
        own.mkdir(parents=True)
        try:
            with measured.row(f"{name}: Dockerfile and what it copies written"):
                context, dockerfile = write(own)
            dockerfile.write_text(re.sub(r"^FROM \S+", f"FROM {base}", dockerfile.read_text(), flags=re.MULTILINE))
            docker.build(name, context, dockerfile, measured)
            with measured.row(f"{name}: {PUSH}"):
                sizes[name] = docker.pushed(BUILT, "image") - below
        except LookupError as error:
            left_out[name] = str(error)
        except subprocess.CalledProcessError as error:
            left_out[name] = f"{error}: {(error.stderr or '').strip()[-500:]}"
    return sizes, left_out


class Docker:
    """The command `docker`, and a registry that it pushes to."""

    def __init__(self, engine: Engine) -> None:
        self._registry = engine.registry
        self._repository = f"bench-{uuid.uuid4().hex[:12]}"
        # The builder that tells line by line what it does; the other one is not in every engine.
        self._variables = {**os.environ, "DOCKER_HOST": engine.url, "DOCKER_BUILDKIT": "0"}

    def run(self, *arguments: str | Path) -> None:
        """Run it to its end; CalledProcessError has what it said."""
        subprocess.run(["docker", *arguments], env=self._variables, check=True, capture_output=True, text=True)

    def build(self, name: str, context: Path, dockerfile: Path, measured: Measured) -> None:
        """Build an image, called ``BUILT`` then.

        Raises:
            LookupError: with the line of the Dockerfile that fails, and the last thing it said.
        """
        command: list[str | Path] = [
            "docker",
            "build",
            "--no-cache",
            "--network=host",
            "--tag",
            BUILT,
            "--file",
            dockerfile,
            context,
        ]
        began = time.perf_counter()
        steps, said = list[tuple[str, float]](), ""
        with subprocess.Popen(command, env=self._variables, stdout=-1, stderr=subprocess.STDOUT, text=True) as process:
            assert process.stdout is not None
            for said in process.stdout:
                if found := re.match(r"Step (\d+)/\d+ : (.*)", said):
                    steps.append((f"line {found[1]}: {found[2]}", time.perf_counter()))
        ended = time.perf_counter()
        if process.returncode:
            raise LookupError(f"{steps[-1][0] if steps else 'docker build'}: {said.strip()}")
        measured.add(f"{name}: {BUILD}", ended - began)
        for (step, since), until in zip(steps, [*(since for _, since in steps[1:]), ended], strict=True):
            if until - since >= _SHOWN_SECONDS:
                measured.add(f"{name}:   {step}", until - since)

    def pushed(self, image: str, tag: str) -> float:
        """Push an image of the engine; return the megabytes of its layers."""
        name = f"{self._registry}/{self._repository}:{tag}"
        self.run("tag", image, name)
        self.run("push", "--quiet", name)
        url = f"http://{self._registry}/v2/{self._repository}/manifests/{tag}"
        layers = requests.get(url, headers={"Accept": _ACCEPT}, timeout=60).json()["layers"]
        return sum(int(layer["size"]) for layer in layers) / 1e6


def _by_hand(folder: Path) -> tuple[Path, Path]:
    (folder / "requirements.txt").write_text(LOCK.to_requirements())
    server = Path(modelyard.__file__).parent / "serving"
    shutil.copy(server / "requirements.txt", folder / "server.txt")
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder / "wheels")]
    for name in ("requirements.txt", "server.txt"):
        subprocess.run([*fetch, "--requirement", str(folder / name)], check=True)
    shutil.copytree(WINE, folder / "project")
    shutil.copytree(server.parent, folder / "modelyard")
    write_model(folder / "model")
    install = "pip install --quiet --no-cache-dir --no-index --find-links /wheels --no-deps"
    (folder / "Dockerfile").write_text(
        f"FROM python\nCOPY wheels /wheels\nCOPY *.txt /\n"
        f"RUN python -m venv /environment && /environment/bin/{install} -r /requirements.txt\n"
        f"RUN python -m venv /server && /server/bin/{install} -r /server.txt\n"
        "COPY modelyard /server/modelyard\nCOPY project /project\nCOPY model /model\n"
    )
    return folder, folder / "Dockerfile"


def _bentoml(folder: Path) -> tuple[Path, Path]:
    source = write_model(folder / "source")
    shutil.copy(servers.HERE / "bento_service.py", source)
    packages = [f"{pin.name}=={pin.version}" for pin in LOCK.requirements if pin.name in _SERVED]
    (source / "bentofile.yaml").write_text(
        "service: bento_service:Served\ninclude: [bento_service.py, model.joblib]\n"
        f"python: {{packages: [{', '.join(packages)}]}}\ndocker: {{python_version: '{PYTHON}'}}\n"
    )
    _peer("bentoml", source, "build", BENTOML_HOME=folder / "home", BENCHMARK_BATCHING="0", BENCHMARK_MODEL="")
    (dockerfile,) = (folder / "home").glob("bentos/*/*/env/docker/Dockerfile")
    return dockerfile.parents[2], dockerfile


_SERVED = ("joblib", "pandas", "scikit-learn")  # what the service imports, at the versions of the lock


def _mlflow(folder: Path) -> tuple[Path, Path]:
    home = servers.environment("mlflow")
    variables = {"PATH": os.environ["PATH"], "HOME": str(folder), **servers.QUIET}
    subprocess.run(
        [home / "bin/python", "-c", _MODEL], cwd=folder, env=variables, check=True, capture_output=True, text=True
    )
    _peer("mlflow", folder, "models", "generate-dockerfile", "--model-uri", "model", "--output-directory", "written")
    return folder / "written", folder / "written" / "Dockerfile"


def _peer(name: str, folder: Path, *arguments: str, **variables: str | Path) -> None:
    """Run a peer's command as its own documentation says; it finds uv, which BentoML would install otherwise."""
    home = servers.environment(name)
    path = f"{home / 'bin'}:{servers.uv().parent}:{os.environ['PATH']}"
    own = {**os.environ, **servers.QUIET, "PATH": path, "HOME": str(folder), **variables}
    subprocess.run([home / "bin" / name, *arguments], cwd=folder, env=own, check=True, capture_output=True, text=True)
