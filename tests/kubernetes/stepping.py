"""Steps as pods of a ground, one by one, without Airflow."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.kubernetes.ground import LOGIN, Ground
from tests.pipeline.tiny import make_tiny
from tests.yard import commit

from modelyard.execution import Command
from modelyard.execution.kubernetes import CONTAINER, Builder, Secrets, step_pod
from modelyard.execution.secrets import address_secret, git_secret
from modelyard.images import open_images
from modelyard.project.lock import read_lock
from modelyard.project.model import Step
from modelyard.project.write_lock import write_lock
from modelyard.steps import plan
from modelyard.store import PipelineRun, Store, pipeline_run_id


class Pods:
    """Runs the steps of one pipeline run as the operator does.

    Attributes:
        project: model.yaml, resolved.
        template: an administrator's.
        builder: of Dockerfiles.
        pods, images: of each step that was run, the pod at its end and its image.
    """

    def __init__(self, ground: Ground, store: Store, project: Path, **params: Any) -> None:
        self.ground = ground
        self.store = store
        self.project = lock = read_lock(project)["project"]
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
        self.template: dict[str, Any] | None = None
        self.builder: Builder | None = None
        self.pods: dict[str, Any] = {}

    def manifest(self, step: str, runner_image: str | None = None) -> dict[str, Any]:
        """Return the pod of a step."""
        asked = Step.model_validate(self.project["steps"].get(step, {}))
        beside = plan.beside(step, self.run, self.store)
        images = open_images(self.ground.store, self.ground.repositories)  # only for their names
        return step_pod(
            Command(
                step,
                self.run.id,
                image=plan.image(step, self.run, self.store),
                beside=beside,
                resources=asked.resources.quantities(),
                pod=asked.pod.to_json(),
                project=plan.project_image(step, self.run, self.store),
            ),
            runner_image=runner_image or self.ground.runner_image,
            secrets=self.secrets if step == "prepare" else replace(self.secrets, git=None),
            images_beside={name: images.reference(one.repository, one.digest) for name, one in beside.items()},
            deadline_seconds=300,
            builder=self.builder if step == "prepare" and self.project.get("dockerfile") else None,
            template=self.template,
        )

    def step(self, step: str, runner_image: str | None = None) -> tuple[str, str]:
        """Run a step and return how its pod ended, and what it printed."""
        manifest = self.manifest(step, runner_image)
        core, namespace, name = self.ground.core, self.ground.namespace, manifest["metadata"]["name"]
        self.images[step] = manifest["spec"]["containers"][0]["image"]
        core.create_namespaced_pod(namespace, manifest)
        self.pods[step] = self.wait(name, lambda status: status.phase in ("Succeeded", "Failed"))
        log = core.read_namespaced_pod_log(name, namespace, container=CONTAINER, _preload_content=False)
        core.delete_namespaced_pod(name, namespace)
        return self.pods[step].status.phase, log.data.decode()

    def wait(self, name: str, reached: Callable[[Any], Any]) -> Any:
        """Return a pod once its status is as it should be."""
        deadline = time.monotonic() + 300
        while not reached((pod := self.ground.core.read_namespaced_pod(name, self.ground.namespace)).status):
            assert time.monotonic() < deadline, pod.status
            time.sleep(0.3)
        return pod


def altered(
    ground: Ground, name: str, home: Path, changes: Mapping[str, tuple[str, str]], model_yaml: str = ""
) -> Path:
    """Put the tiny project under another name at the Git server.

    Args:
        ground: whose Git server it is.
        name: of the project.
        home: a folder for caches.
        changes: what is replaced by what, by file.
        model_yaml: more of that file.
    """
    folder = make_tiny(ground.repositories / name, home)
    for file, (old, new) in {"model.yaml": ("name: tiny", f"name: {name}"), **changes}.items():
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new))
    with (folder / "model.yaml").open("a") as file_:
        file_.write(model_yaml)
    write_lock(folder, home, print)
    commit(folder)
    return folder


def succeed(pods: Pods, *steps: str, **options: str) -> dict[str, str]:
    """Run steps to their good end and return what each printed."""
    said = {}
    for step in steps:
        started = time.monotonic()
        phase, said[step] = pods.step(step, **options)
        print(f"--- {step} {time.monotonic() - started:.1f} s\n{said[step]}")
        assert phase == "Succeeded"
    return said
