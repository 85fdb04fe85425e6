"""Execution mode `docker`: a step as a container of the engine that the worker reaches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.docker.operators.docker import DockerOperator

from model_store.hook import ModelStoreHook
from model_store.links import BUTTONS
from model_store.run import JSON, Ended, PipelineStep, task_failure
from model_store.shape import refuse_forbidden, step_settings
from modelyard.errors import ModelyardError
from modelyard.steps import plan

if TYPE_CHECKING:
    from airflow.sdk import Context
    from docker import APIClient

    from modelyard.execution import Command
    from modelyard.execution.docker import DockerStep, Exit
    from modelyard.execution.local import LocalStep
    from modelyard.store import PipelineRun, Store


@dataclass(frozen=True)
class Containers:
    """How steps are run on the engine.

    Attributes:
        runner_image: the image of the steps; those that run the project's code have one that lies on it.
        network: of the engine, by which steps reach the store.
        deadline_seconds: no step's container lives longer than this.
        forbidden: keys of model.yaml's ``steps`` that no project may use.
    """

    runner_image: str
    deadline_seconds: int
    network: str = "bridge"
    forbidden: tuple[str, ...] = ()


class DockerStepOperator(DockerOperator):
    """Runs one step of a pipeline as a container, and waits for it: its lines come as they are written.

    A try after the worker's death takes up the container that is still running. One that has failed is kept to be
    looked at, one that has succeeded is removed. What the step left is in the store; its XCom repeats the ids and
    digests.

    A step that has the engine do something, deploy to it or build a project's Dockerfile, is a process of the worker:
    it runs no code of a project, and a container that reaches the engine could do anything on its host. No container is
    ever given that.

    Args:
        pipeline_step: which step, of which project.
        containers: how its container is made.
    """

    ui_color = "#e6f2f9"

    def __init__(self, *, pipeline_step: PipelineStep, containers: Containers, **kwargs: Any) -> None:
        refuse_forbidden(pipeline_step.step, pipeline_step.settings, containers.forbidden)
        super().__init__(
            image=containers.runner_image,
            network_mode=containers.network,
            mount_tmp_dir=False,
            auto_remove="success",
            **kwargs,
        )
        self.pipeline_step = pipeline_step
        self.containers = containers
        self.operator_extra_links = BUTTONS.get(pipeline_step.step, ())
        self.links: dict[str, str] = {}
        self._running: DockerStep | LocalStep | None = None

    @cached_property
    def cli(self) -> APIClient:  # the provider's own knows no DOCKER_CERT_PATH
        """The client of the engine that DOCKER_HOST names."""
        from modelyard.docker_engine import connect

        return connect()

    def execute(self, context: Context) -> JSON:  # type: ignore[override]  # of lines; this is what the step left
        """Run the step to its end and return the ids and digests that it left."""
        try:
            with ModelStoreHook(self.pipeline_step.conn_id) as store:
                run, command = self.pipeline_step.begin(context, store)
                self._check(store, run, command)
                if (command.step in plan.DEPLOYING and run.settings["target"] == "docker") or (
                    self.pipeline_step.has_dockerfile(context["params"])
                ):
                    ended = self._on_this_worker(context, store, command)
                else:
                    ended = self._in_a_container(context, store, run, command)
                self.links = self.pipeline_step.links(store, run)
                return self.pipeline_step.end(context, store, run, ended)
        except ModelyardError as error:
            raise task_failure(error) from error

    def _check(self, store: Store, run: PipelineRun, command: Command) -> None:
        """Refuse what cannot go well before anything runs; what the worker would reach, later steps would not."""
        from modelyard.execution.container import check_target
        from modelyard.execution.reach import check_reachable, check_source

        check_reachable(store.address, self.pipeline_step.conn_id, "container")
        if command.step == "prepare" and run.params.get("version") is None:
            check_source(run.project, "container")
        if command.step in plan.DEPLOYING:
            check_target(run.settings["environment"], run.settings)

    def _on_this_worker(self, context: Context, store: Store, command: Command) -> Ended:
        from modelyard.dockerfile.builder import ENGINE
        from modelyard.execution.local import LocalStep

        step = self.pipeline_step
        home, git = ModelStoreHook(step.conn_id).home(), step.git_credentials(context["params"])
        builder = ENGINE if step.step == "prepare" else None
        self._running = LocalStep(command, store.address, home, self.log.info, git, builder=builder)
        return Ended(self._running.run(), command.try_number)

    def _in_a_container(self, context: Context, store: Store, run: PipelineRun, command: Command) -> Ended:
        from modelyard.execution.credentials import credentials_line
        from modelyard.execution.docker import DockerStep, Setting
        from modelyard.images import open_images

        step, address, params = self.pipeline_step, store.address, context["params"]
        images = open_images(address, ModelStoreHook(step.conn_id).home())
        login = None
        if address.registry_username and address.registry_password:
            login = (address.registry_username, address.registry_password)
        setting = Setting(
            runner_image=self.containers.runner_image,
            network=self.containers.network,
            deadline_seconds=self.containers.deadline_seconds,
            images_beside={name: images.reference(one.repository, one.digest) for name, one in command.beside.items()},
            login=login,
            credentials=credentials_line(
                address, step.git_credentials(params), step.cluster_access(run), step.signing_key()
            ),
            told={"modelyard.io/dag": run.dag_id, "modelyard.io/run": run.run_id},
        )
        command = replace(command, resources=self._resources(params))
        self._running = DockerStep(self.cli, command, str(context["ti"].id), setting, self.log.info)
        return _how(self._running.run())

    def _resources(self, params: Mapping[str, Any]) -> dict[str, str]:
        """Return what the step's container is limited to; what only a cluster has is told, and left out."""
        step, forbidden = self.pipeline_step, self.containers.forbidden
        settings = step.settings_of(params)
        refuse_forbidden(step.step, settings, forbidden)  # a rollback's are known only now
        asked = step_settings(step.step, settings, params, forbidden)
        quantities = asked.resources.quantities()
        only_of_pods = [*(["resources.ephemeral_storage"] if quantities.pop("ephemeral_storage", None) else [])]
        only_of_pods += [f"pod.{name}" for name in asked.pod.to_json()]
        if only_of_pods:
            self.log.info("Without effect in a container: `%s` of model.yaml", "`, `".join(only_of_pods))
        return quantities

    def on_kill(self) -> None:
        """End what runs, and remove its container."""
        if self._running is None:
            return
        try:
            self._running.kill()
        except ModelyardError as error:
            self.log.warning("The step's container is not removed: %s", error)


def _how(ended: Exit) -> Ended:
    if not ended.out_of_memory:
        return Ended(ended.code, ended.try_number)
    why = "took more memory than it may\n  → give it more by the Param resources.…, or by `steps` in model.yaml"
    return Ended(ended.code, ended.try_number, why, again=False)
