"""The Dockerfiles of this repository, built by a Docker engine and by Buildah: what is in them works, and is ours."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.fixtures_docker import Engine
from tests.fixtures_machine import REPOSITORY

from modelyard.environments.own import own_lock

_BASE = "python:3.11-slim"
_PACKAGES = "import importlib.metadata as m; [print(one.name, one.version) for one in m.distributions()]"
# What an installer brings beside what was asked for; `modelyard image runner` has the code without its metadata.
_OF_THE_INSTALLER = {"modelyard", "pip"}

Run = Callable[..., str]


def _by_the_engine(engine: Engine) -> Iterator[Callable[[str], Run]]:
    """Gives what builds a Dockerfile and returns what runs a command in its image."""
    client = engine.client()
    client.pull(f"{engine.registry}/library/python", "3.11-slim")
    client.tag(f"{engine.registry}/library/python:3.11-slim", "python", "3.11-slim")
    made: list[str] = []

    def build(name: str) -> Run:
        tag = f"test-{name}-{os.getpid()}"
        lines = [
            str(line) for line in client.build(str(REPOSITORY), tag, dockerfile=f"docker/{name}/Dockerfile", rm=True)
        ]
        assert "Successfully tagged" in lines[-1], lines[-5:]
        made.append(tag)

        def run(*command: str) -> str:
            container = client.create_container(tag, command[1:], entrypoint=list(command[:1]))
            try:
                client.start(container)
                ended = client.wait(container)["StatusCode"]
                said: str = client.logs(container).decode()
                assert ended == 0, said
                return said
            finally:
                client.remove_container(container, force=True)

        return run

    yield build
    for tag in made:
        client.remove_image(tag)


def _by_buildah(engine: Engine, folder: Path) -> Iterator[Callable[[str], Run]]:
    if shutil.which("buildah") is None or os.geteuid() != 0:
        pytest.skip("Buildah cannot build here: it takes root, and apt-get install buildah")

    def buildah(*arguments: str) -> str:
        where = ["--storage-driver", "vfs", "--root", str(folder / "root"), "--runroot", str(folder / "run")]
        done = subprocess.run(["buildah", *where, *arguments], cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    def build(name: str) -> Run:
        base = ["--from", f"{engine.registry}/library/{_BASE}", "--tls-verify=false"]
        buildah("bud", "--isolation", "chroot", *base, "-f", f"docker/{name}/Dockerfile", "-t", name, ".")
        container = buildah("from", f"localhost/{name}").strip()
        # Its storage closes the root of an image that does not describe it; whatever else runs images opens that.
        Path(buildah("mount", container).strip()).chmod(0o755)
        return lambda *command: buildah("run", "--isolation", "chroot", container, "--", *command)

    yield build
    shutil.rmtree(folder)


@pytest.fixture(scope="module", params=["engine", "buildah"])
def build(
    request: pytest.FixtureRequest, engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Run]]:
    if request.param == "engine":
        yield from _by_the_engine(engine)
    else:
        yield from _by_buildah(engine, tmp_path_factory.mktemp("buildah"))


def test_the_runner_has_the_packages_of_the_one_that_needs_no_docker(build: Callable[[str], Run]) -> None:
    run = build("runner")
    python = "/opt/modelyard/runner/bin/python"
    found = {tuple(line.split()) for line in run(python, "-c", _PACKAGES).splitlines()}
    packages = {(re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in found}
    ours = {(pin.name, pin.version) for pin in own_lock().requirements}
    assert {one for one in packages if one[0] not in _OF_THE_INSTALLER} == ours
    assert "Usage:" in run("modelyard", "--help")
    assert run("id", "-u").strip() == "65532"
    assert run("sh", "-c", "ls /opt/modelyard").split() == ["runner"]


def test_airflow_starts_and_finds_plugin_and_provider(build: Callable[[str], Run]) -> None:
    run = build("airflow")
    assert "3.3.2" in run("airflow", "version")
    assert "model_store" in run("airflow", "plugins", "--output", "plain")
    assert "modelyard" in run("airflow", "providers", "list", "--output", "plain")
    assert "Usage:" in run("modelyard", "--help")
