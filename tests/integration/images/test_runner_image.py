from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import pytest
from tests.fixtures_machine import REPOSITORY
from tests.fixtures_registry import push_base
from tests.unpacking import unpack

from modelyard.images import Image, validate
from modelyard.images.base import Base, pull_base
from modelyard.images.interpreter import Interpreter
from modelyard.images.layout import Layout
from modelyard.images.paths import ROOT
from modelyard.images.registry import Registry
from modelyard.images.runner import build_runner_image
from modelyard.images.transport import Transport
from modelyard.store import StoreAddress

PYTHON = Interpreter.of_this_machine().python
RUNNER = "opt/modelyard/runner"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the packages in it after the first build."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def base(registry: Any, home: Path) -> str:
    return push_base(address_of(registry), home, PYTHON)


@pytest.fixture
def below(registry: Any, home: Path, base: str) -> Base:
    return pull_base(base, Layout(home / "images"), address_of(registry), home)


@pytest.fixture
def image(below: Base, home: Path) -> Image:
    return build_runner_image(Layout(home / "images"), home, below, print)


def address_of(registry: Any) -> StoreAddress:
    return StoreAddress(
        "mongodb://unused", "file:///unused", f"{registry.host}/{registry.prefix}", registry_insecure=True
    )


@pytest.fixture
def _narrow_umask() -> Iterator[None]:
    umask = os.umask(0o077)
    yield
    os.umask(umask)


def modelyard(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MODELYARD_HOME": str(home), "MODELYARD_REGISTRY_INSECURE": "true"}
    command = [sys.executable, "-m", "modelyard", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_it_has_the_steps_and_no_airflow(image: Image, below: Base, tmp_path: Path) -> None:
    assert [layer.kind for layer in image.layers] == [None, None, "runner", "interpreter", "code"]
    assert image.layers[:2] == below.image.layers
    config = image.parsed_config["config"]
    assert config["Entrypoint"] == [f"/{RUNNER}/bin/python", "-m", "modelyard"]
    assert config["User"] == "65532:65532"
    assert f"PATH=/{RUNNER}/bin:/usr/local/bin:/usr/bin" in config["Env"]

    unpack(image, tmp_path / "tree")
    runner = tmp_path / "tree" / RUNNER
    packages = runner / "lib" / f"python{PYTHON}" / "site-packages"
    assert (runner / "bin" / "python").readlink() == Path(f"/usr/local/bin/python{PYTHON}")
    assert (runner / "bin" / "modelyard").read_text().startswith(f"#!/{RUNNER}/bin/python\n")
    assert not list(packages.glob("airflow*"))
    assert list((packages / "modelyard" / "__pycache__").glob("cli.*.pyc"))
    command = [str(Interpreter.of_this_machine().executable), "-s", "-m", "modelyard", "--help"]
    said = subprocess.check_output(command, env={"PYTHONPATH": str(packages)}, cwd=tmp_path, text=True)
    assert "Take a machine-learning model from experiment to production" in said


def test_the_dockerfile_makes_the_same(image: Image, below: Base) -> None:
    """But for layers and labels: paths, user, environment and entry point."""
    lines = (REPOSITORY / "docker" / "runner" / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    said = [line.partition(" ")[::2] for line in lines if line and not line.startswith("#")]
    environment = dict(item.split("=", 1) for item in below.image.parsed_config["config"]["Env"])
    for instruction, rest in said:
        if instruction == "ENV":
            set_here = (one.split("=", 1) for one in rest.split())
            environment |= {name: Template(value).substitute(environment) for name, value in set_here}
    made = {instruction: rest.strip() for instruction, rest in said}
    assert not made.keys() & {"CMD", "EXPOSE", "VOLUME", "STOPSIGNAL"}
    config = image.parsed_config["config"]
    assert config["WorkingDir"] == made["WORKDIR"] == f"/{ROOT}"
    assert config["User"] == made["USER"]
    assert config["Entrypoint"] == json.loads(made["ENTRYPOINT"])
    assert config["Cmd"] == []  # as Docker does with the base's, below an entry point
    assert dict(item.split("=", 1) for item in config["Env"]) == environment
    assert "python -m venv runner" in made["RUN"]


@pytest.mark.usefixtures("_narrow_umask")
def test_the_same_packages_code_and_base_are_the_same_image(image: Image, below: Base, home: Path) -> None:
    lines: list[str] = []
    again = build_runner_image(Layout(home / "images"), home, below, lines.append)

    assert again.digest == image.digest
    assert lines[0].startswith("The runner is built already")


def test_the_command_pushes_it(registry: Any, home: Path, base: str, image: Image) -> None:
    name = f"{registry.host}/{registry.prefix}/tools/runner"

    pushed = modelyard(home, "image", "runner", "--push", f"{name}:1", "--base", base)

    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stdout == f"{name}@{image.digest}\n"
    images = Registry(Transport(registry.host, insecure=True), registry.prefix, home / "packed")
    validate(images.pull("tools/runner", "1"))


def test_a_base_that_cannot_be_below_is_refused_in_words(registry: Any, home: Path) -> None:
    other = push_base(address_of(registry), home, "3.5")

    refused = modelyard(home, "image", "runner", "--push", f"{registry.host}/runner:1", "--base", other)

    assert refused.returncode == 65
    assert f"The base image {other} has Python 3.5 for linux/" in refused.stderr
    assert "Traceback" not in refused.stderr
    digest = modelyard(home, "image", "runner", "--push", f"{registry.host}/runner@sha256:{'0' * 64}")
    assert digest.returncode == 2
    assert "give it a tag" in digest.stderr
