"""Execution mode `kubernetes`: a step as a pod that the worker waits for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowException
from kubernetes.client.exceptions import ApiException

from model_store.hook import ModelStoreHook
from model_store.links import BUTTONS
from model_store.run import JSON, Ended, PipelineStep, task_failure
from modelyard.errors import ModelyardError
from modelyard.steps import plan

if TYPE_CHECKING:
    from airflow.sdk import Context
    from kubernetes.client.models import V1Pod

    from modelyard.execution import Command
    from modelyard.store import PipelineRun, Store

_START_SECONDS = 600  # a new node, and the first pull of an image of gigabytes
_TERMINATED = 128 + 15


@dataclass(frozen=True)
class Cluster:
    """Where pods run.

    Attributes:
        conn_id: Airflow's connection to the cluster.
        namespace: of the pods and of their Secrets.
        runner_image: the image of the steps; those that run the project's code have one that lies on it.
        deadline_seconds: no step's pod lives longer than this.
    """

    conn_id: str
    namespace: str
    runner_image: str
    deadline_seconds: int


class KubernetesStepOperator(KubernetesPodOperator):
    """Runs one step of a pipeline as a pod, and waits for it in the worker: its lines come as they are written.

    A try after the worker's death takes up the pod that is still running. A pod that has failed is kept to be looked
    at, one that has succeeded is removed. What the step left is in the store; its XCom repeats the ids and digests.

    Args:
        pipeline_step: which step, of which project.
        cluster: where its pod runs.
    """

    ui_color = "#e8eef6"

    def __init__(self, *, pipeline_step: PipelineStep, cluster: Cluster, **kwargs: Any) -> None:
        super().__init__(
            kubernetes_conn_id=cluster.conn_id,
            namespace=cluster.namespace,
            image=cluster.runner_image,
            # A task that defers and comes back within seconds is failed by Airflow 3.3's scheduler.
            deferrable=False,
            # The side-car that it takes needs an image of its own and the right to run commands in pods.
            do_xcom_push=False,
            on_finish_action="delete_succeeded_pod",
            startup_timeout_seconds=_START_SECONDS,
            startup_check_interval_seconds=1,
            base_container_status_polling_interval=0.5,
            container_name_log_prefix_enabled=False,
            log_events_on_startup=False,  # it has the API server read all events of the namespace, again and again
            log_events_on_failure=True,
            **kwargs,
        )
        self.pipeline_step = pipeline_step
        self.cluster = cluster
        self.operator_extra_links = BUTTONS.get(pipeline_step.step, ())
        self.links: dict[str, str] = {}

    def execute(self, context: Context) -> JSON:
        """Run the step's pod to its end and return the ids and digests that the step left."""
        from modelyard.execution.kubernetes import check_reachable, check_source, check_target

        try:
            with ModelStoreHook(self.pipeline_step.conn_id) as store:
                run, command = self.pipeline_step.begin(context, store)
                check_reachable(store.address, self.pipeline_step.conn_id)
                if command.step == "prepare" and run.params.get("version") is None:
                    check_source(run.project)
                if command.step in plan.DEPLOYING:
                    check_target(run.settings["environment"], run.settings["target"])
                self.image = command.image or self.cluster.runner_image
                self.pod_template_dict = self._pod(context, store, run, command)
                ended = self._run(context)
                self.links = self.pipeline_step.links(store, run)
                result = self.pipeline_step.end(context, store, run, ended)
        except ModelyardError as error:
            raise task_failure(error) from error
        except ApiException as error:
            raise AirflowException(self._refused(error)) from error
        context["ti"].xcom_push(key="return_value", value=result)  # Airflow does it only with `do_xcom_push`
        return result

    def _pod(self, context: Context, store: Store, run: PipelineRun, command: Command) -> JSON:
        """Return the manifest of the step's pod, with the Secrets that it mounts in the cluster."""
        from modelyard.execution.kubernetes import Secrets, address_secret, cluster_secret, git_secret, step_pod
        from modelyard.images import open_images

        step, address = self.pipeline_step, store.address
        store_secret = self._apply(address_secret(address, step.conn_id))
        git, git_conn_id = step.git_credentials(context["params"]), step.git_conn_id(context["params"])
        applied = None
        if git is not None and git_conn_id is not None:
            applied = self._apply(git_secret(git, git_conn_id, address.installation))
        cluster = step.cluster_access(run)
        cluster_applied = None if cluster is None else self._apply(cluster_secret(cluster, address.installation))
        elsewhere = cluster is not None and cluster.kubeconfig is not None
        images = open_images(address, ModelStoreHook(step.conn_id).home())
        return step_pod(
            command,
            runner_image=self.cluster.runner_image,
            secrets=Secrets(store_secret, applied, cluster_applied, elsewhere),
            images_beside={name: images.reference(one.repository, one.digest) for name, one in command.beside.items()},
            deadline_seconds=self.cluster.deadline_seconds,
        )

    def _apply(self, secret: JSON) -> str:
        """Make the cluster's Secret this one, whether it was there or not, and return its name."""
        name: str = secret["metadata"]["name"]
        answer = self.client.patch_namespaced_secret(
            name,
            self.namespace,
            secret,
            field_manager="modelyard",
            force=True,
            _content_type="application/apply-patch+yaml",
            _preload_content=False,  # otherwise the client writes the answer, which has the secret, into the debug log
        )
        answer.release_conn()
        return name

    def _run(self, context: Context) -> Ended:
        """Start the pod, or take up the one that runs, and wait for its end."""
        try:
            super().execute(context)
        except AirflowException:
            if self.remote_pod is None or (ended := _end_of(self.remote_pod)) is None:
                raise
            return ended
        return Ended(0, context["ti"].try_number)

    def _refused(self, error: ApiException) -> str:
        if error.status in (401, 403):
            remedy = f"give that account the rights of docker/kubernetes in '{self.namespace}'"
            return f"The cluster lets the account of '{self.cluster.conn_id}' not do this: {_said(error)}\n  → {remedy}"
        return f"The cluster refused the pod of step '{self.pipeline_step.step}': {_said(error)}"


def _said(error: ApiException) -> str:
    import json

    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


def _end_of(pod: V1Pod) -> Ended | None:
    """Return how the step in ``pod`` ended; None when it never started."""
    from modelyard.execution.kubernetes import CONTAINER

    try_number = int(pod.metadata.labels["try_number"])
    states = {status.name: status.state for status in pod.status.container_statuses or ()}
    terminated = states[CONTAINER].terminated if CONTAINER in states else None
    if pod.status.reason:  # the cluster ended the whole pod
        said = f": {pod.status.message}" if pod.status.message else ""
        code = _TERMINATED if terminated is None else terminated.exit_code or _TERMINATED
        return Ended(code, try_number, f"was ended by the cluster ({pod.status.reason}{said})")
    if terminated is None:
        return None
    why = ""
    if terminated.reason == "OOMKilled":
        why = "took more memory than it may\n  → give it more under `resources` in model.yaml"
    return Ended(terminated.exit_code, try_number, why)
