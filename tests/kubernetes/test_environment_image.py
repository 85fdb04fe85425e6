"""Steps as pods, without Airflow: in which image they run, and what the project's code can reach there."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.kubernetes.ground import LOGIN, Ground
from tests.pipeline.tiny import make_tiny
from tests.yard import commit

from modelyard.execution import Command
from modelyard.execution.kubernetes import CONTAINER, Secrets, address_secret, git_secret, step_pod
from modelyard.project.lock import read_lock
from modelyard.project.write_lock import write_lock
from modelyard.steps import plan
from modelyard.store import PipelineRun, Store, pipeline_run_id

# What a training tells of where it runs, and of what is closed to it.
_LOOKS_ABOUT = """
    import os, sys
    print("prefix", sys.prefix)
    for place in ("/run/modelyard/store/given", f"/proc/{os.getppid()}/environ", f"/proc/{os.getppid()}/mem"):
        try:
            open(place, "rb").close()
            print("open", place)
        except OSError:
            print("closed", place)
"""


class Pods:
    """Runs the steps of one pipeline run as the operator does."""

    def __init__(self, ground: Ground, store: Store, project: Path, **params: Any) -> None:
        self.ground = ground
        self.store = store
        lock = read_lock(project)["project"]
        run_id = uuid.uuid4().hex
        self.run = store.pipelines.open(
            PipelineRun(
                id=pipeline_run_id(ground.store.installation, project.name, run_id),
                installation=ground.store.installation,
                dag_id=project.name,
                run_id=run_id,
                model=project.name,
                project=ground.source(project.name),
                params=params,
                settings=plan.settings(lock, params),
                started_by="ada",
                clear_number=0,
                created_at=datetime.now(UTC),
            )
        )
        made = (
            address_secret(ground.store, f"store-{run_id}"),
            git_secret((LOGIN.username, LOGIN.token), f"git-{run_id}", ground.store.installation),
        )
        for secret in made:
            ground.core.create_namespaced_secret(ground.namespace, secret)
        self.secrets = Secrets(*(secret["metadata"]["name"] for secret in made))
        self.images: dict[str, str] = {}

    def step(self, step: str, runner_image: str | None = None) -> tuple[str, str]:
        """Run a step and return how its pod ended, and what it printed."""
        command = Command(step, self.run.id, image=plan.image(step, self.run, self.store))
        secrets = self.secrets if step == "prepare" else replace(self.secrets, git=None)
        manifest = step_pod(
            command,
            runner_image=runner_image or self.ground.runner_image,
            secrets=secrets,
            images_beside={},
            deadline_seconds=300,
        )
        core, namespace, name = self.ground.core, self.ground.namespace, manifest["metadata"]["name"]
        self.images[step] = manifest["spec"]["containers"][0]["image"]
        core.create_namespaced_pod(namespace, manifest)
        while (phase := core.read_namespaced_pod(name, namespace).status.phase) not in ("Succeeded", "Failed"):
            time.sleep(0.3)
        log = core.read_namespaced_pod_log(name, namespace, container=CONTAINER, _preload_content=False)
        core.delete_namespaced_pod(name, namespace)
        return phase, log.data.decode()


@pytest.fixture(scope="module")
def looking(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny project, with a training that looks about."""
    home = tmp_path_factory.mktemp("looking")
    folder = make_tiny(ground.repositories / "looking", home)
    for name, old, new in (
        ("model.yaml", "name: tiny", "name: looking"),
        ("train.py", "    time.sleep(pause)\n", _LOOKS_ABOUT),
    ):
        file = folder / name
        file.write_text(file.read_text().replace(old, new))
    write_lock(folder, home, print)
    commit(folder)
    return folder


@pytest.fixture
def store(ground: Ground) -> Iterator[Store]:
    with Store.open(ground.store) as store:
        yield store


def succeed(pods: Pods, *steps: str, **options: str) -> dict[str, str]:
    """Run steps to their good end and return what each printed."""
    said = {}
    for step in steps:
        started = time.monotonic()
        phase, said[step] = pods.step(step, **options)
        print(f"--- {step} {time.monotonic() - started:.1f} s\n{said[step]}")
        assert phase == "Succeeded"
    return said


def test_a_projects_code_runs_in_its_environments_image_and_reaches_no_credential(
    ground: Ground, looking: Path, store: Store
) -> None:
    first = Pods(ground, store, looking)
    said = succeed(first, "prepare", "train", "log_to_sacred")
    assert "prefix /opt/modelyard/environment\n" in said["train"]
    assert said["train"].count("closed /") == 3
    assert "open /" not in said["train"]
    assert first.images["train"].startswith(f"{ground.store.registry}/environment-image@sha256:")
    assert first.images["prepare"] == first.images["log_to_sacred"] == ground.runner_image

    again = Pods(ground, store, looking, version=1)
    said = succeed(again, "prepare", "validate")
    assert "The environment is built already" in said["prepare"]
    assert "The environment image is built already" in said["prepare"]
    assert again.images["validate"] == first.images["train"]
