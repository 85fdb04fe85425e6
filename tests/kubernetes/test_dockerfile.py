"""A project with a Dockerfile of its own: built beside `prepare`, trained in and served from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.fixtures_cluster import TestCluster
from tests.kubernetes.builder_image import push_builder_image
from tests.kubernetes.ground import Ground
from tests.kubernetes.stepping import Pods, succeed
from tests.pipeline.tiny import make_tiny
from tests.searching import Search
from tests.yard import commit

from modelyard.deployment.kubernetes.cluster import Cluster
from modelyard.execution.kubernetes import CONTAINER, Builder
from modelyard.project.write_lock import write_lock
from modelyard.store import Store

_LEVEL = "pod-security.kubernetes.io/enforce"
_PACKAGES = "RUN python3 -m venv /opt/venv && /opt/venv/bin/pip install -q --no-cache-dir -r /build/requirements.txt"
# All that RUN lines see: variables and commands of every process, and what is mounted.
_LOOKS_ABOUT = (
    r"""RUN cat /proc/*/environ /proc/*/cmdline /proc/*/mounts 2>/dev/null | tr '\0' '\n'; ls /run /var/run; id -u"""
)
_TRAIN = """
    import os, subprocess, sys
    print("prefix", sys.prefix, os.environ["GREETING"], subprocess.run("hello", stdout=-1, text=True).stdout)
    print("secrets", os.path.exists("/run/modelyard"), os.path.exists("/var/run/secrets"))
"""


@pytest.fixture(scope="module")
def builder(cluster: TestCluster, tmp_path_factory: pytest.TempPathFactory) -> Builder:
    return Builder(push_builder_image(cluster, tmp_path_factory.mktemp("builder")))


@pytest.fixture(scope="module")
def builds(ground: Ground) -> Iterator[Ground]:
    """The ground, while its namespace takes a builder's pod too."""
    for level in ("privileged", "restricted"):
        ground.core.patch_namespace(ground.namespace, {"metadata": {"labels": {_LEVEL: level}}})
        if level == "privileged":
            yield ground


@pytest.fixture(scope="module")
def project(builds: Ground, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Puts the tiny project with these RUN lines and these files at the Git server."""
    home = tmp_path_factory.mktemp("home")

    def put(name: str, lines: list[str], files: Mapping[str, str], train: str = "") -> Path:
        folder = make_tiny(builds.repositories / name, home)
        settings = yaml.safe_load((folder / "model.yaml").read_text())
        settings |= {"name": name, "deployment": {"environments": {"production": builds.target}}}
        base = f"ARG base={builds.store.base_image}\nFROM ${{base}}"
        texts = {
            "model.yaml": yaml.safe_dump(settings),
            "train.py": (folder / "train.py").read_text().replace("    time.sleep(pause)\n", train),
            "Dockerfile": "\n".join([base, *lines, ""]),
            ".dockerignore": "*\n!requirements.txt\n",
            **files,
        }
        for file, text in texts.items():
            (folder / file).write_text(text)
        write_lock(folder, home, print)
        commit(folder)
        return folder

    return put


def _built(pods: Pods, store: Store) -> str:
    record = store.steps.get(pods.run.id, "prepare")
    assert record is not None
    assert record.result is not None
    return str(record.result["environment"]["image_digest"])


def test_it_is_built_once_and_is_trained_in_and_served_from(
    builds: Ground, project: Any, builder: Builder, store: Store
) -> None:
    lines = [
        "RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends hello >/dev/null && hello",
        "COPY requirements.txt /build/",
        _PACKAGES,
        'ENV PATH=/opt/venv/bin:$PATH GREETING="from the Dockerfile"',
        _LOOKS_ABOUT,
    ]
    folder = project("greeting", lines, {"requirements.txt": "sacred==0.8.7\nsetuptools<81\n"}, _TRAIN)
    first = Pods(builds, store, folder)
    first.builder = builder
    said = succeed(
        first, "prepare", "train", "log_to_sacred", "validate", "containerise", "test_image", "push", "deploy"
    )
    assert "Hello, world!" in said["prepare"]
    assert "prefix /opt/venv from the Dockerfile Hello, world!" in said["train"]
    assert "secrets False False" in said["train"]
    assert "cannot be started" not in said["validate"]

    # Nothing that opens anything was where the RUN lines, or the model, could see it.
    assert "buildah" in said["prepare"], "they saw no other process"
    assert not Search(builds.credentials).found((step, text.encode()) for step, text in said.items())
    for step, name in (("prepare", "builder"), ("train", "project"), ("validate", "project")):
        spec = first.pods[step].spec
        (container,) = (one for one in spec.init_containers if one.name == name)
        volumes = {volume.name: volume for volume in spec.volumes}
        assert not spec.automount_service_account_token
        assert not container.env
        assert not container.env_from
        assert all(volumes[mount.name].empty_dir for mount in container.volume_mounts)

    cluster = Cluster(builds.core.api_client)
    answer = cluster.ask_service(builds.namespace, "greeting", "http", "POST", "/predict", {"rows": [{"x": 0.9}]})[2]
    assert b"high" in answer

    again = Pods(builds, store, folder)
    again.builder = builder
    assert "The project's image is built already" in succeed(again, "prepare")["prepare"]
    assert _built(again, store) == _built(first, store)
    environment = store.versions.get("greeting", 1).environment
    assert environment is not None
    assert environment["image_digest"] == _built(first, store)


def test_a_line_that_fails_is_the_reason(builds: Ground, project: Any, builder: Builder, store: Store) -> None:
    pods = Pods(builds, store, project("failing", ["RUN echo before", "RUN echo why >&2; exit 3", "RUN after"], {}))
    _, said = pods.step("prepare")
    assert "nothing here builds it" in said
    pods.builder = builder
    phase, said = pods.step("prepare")
    assert phase == "Failed"
    assert "\nbefore\n" in said
    record = store.steps.get(pods.run.id, "prepare")
    assert record is not None
    assert record.error is not None
    message = record.error["message"]
    assert message.startswith("The Dockerfile cannot be built: STEP 3/4: RUN echo why >&2; exit 3\nwhy\n")
    assert pods.pods["prepare"].status.container_statuses[0].state.terminated.exit_code == 65


def test_killed_in_the_middle_it_is_built_by_the_next_try(
    builds: Ground, project: Any, builder: Builder, store: Store
) -> None:
    pods = Pods(builds, store, project("killed", ["RUN echo begun && sleep 5 && python3 --version"], {}))
    pods.builder = builder
    core, manifest = builds.core, pods.manifest("prepare")
    name = manifest["metadata"]["name"]
    core.create_namespaced_pod(builds.namespace, manifest)
    pods.wait(name, lambda status: status.container_statuses and status.container_statuses[0].state.running)
    # Its lines are the step's as they come.
    for line in core.read_namespaced_pod_log(
        name, builds.namespace, container=CONTAINER, follow=True, _preload_content=False
    ):
        if line == b"begun\n":
            break
    core.delete_namespaced_pod(name, builds.namespace, grace_period_seconds=0)
    said = succeed(pods, "prepare")["prepare"]
    assert "begun\n" in said
    assert _built(pods, store).startswith("sha256:")
