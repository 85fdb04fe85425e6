"""Execution mode `local`: a step as a process on the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from model_store.hook import ModelStoreHook
from model_store.links import BUTTONS
from model_store.run import JSON, Ended, PipelineStep, task_failure
from modelyard.errors import ModelyardError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from modelyard.execution.local import LocalStep


class LocalStepOperator(BaseOperator):
    """Runs one step of a pipeline as a process of this worker; the process ends with its task, whatever happens.

    What the step left is in the store; its XCom repeats the ids and digests.

    Args:
        pipeline_step: which step, of which project.
    """

    ui_color = "#e8f1ee"

    def __init__(self, *, pipeline_step: PipelineStep, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline_step = pipeline_step
        self.operator_extra_links = BUTTONS.get(pipeline_step.step, ())
        self.links: dict[str, str] = {}
        self._process: LocalStep | None = None

    def execute(self, context: Context) -> JSON:
        """Run the step to its end and return the ids and digests that it left."""
        from modelyard.execution.local import LocalStep

        hook = ModelStoreHook(self.pipeline_step.conn_id)
        try:
            with hook as store:
                run, command = self.pipeline_step.begin(context, store)
                git = self.pipeline_step.git_credentials(context["params"])
                cluster = self.pipeline_step.cluster_access(run)
                signing = self.pipeline_step.signing_key()
                self._process = LocalStep(command, store.address, hook.home(), self.log.info, git, cluster, signing)
                ended = Ended(self._process.run(), command.try_number)
                self.links = self.pipeline_step.links(store, run)
                return self.pipeline_step.end(context, store, run, ended)
        except ModelyardError as error:
            raise task_failure(error) from error

    def on_kill(self) -> None:
        """End the process when the task is stopped."""
        if self._process is not None:
            self._process.kill()
