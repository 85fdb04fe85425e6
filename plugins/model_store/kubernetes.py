"""Execution mode `kubernetes`: a step as a pod that the worker waits for, or the triggerer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import generic_api_retry
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowException
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from model_store.cluster_api import ClusterAwayError, StepClusterHook
from model_store.hook import ModelStoreHook
from model_store.links import BUTTONS
from model_store.pods import StepPods, end_of, said
from model_store.run import JSON, Ended, PipelineStep, task_failure
from model_store.shape import refuse_forbidden, step_settings
from modelyard.errors import ModelyardError
from modelyard.steps import plan

if TYPE_CHECKING:
    from airflow.sdk import Context
    from kubernetes.client.models import V1Pod

    from modelyard.deployment import ClusterAccess
    from modelyard.execution import Command
    from modelyard.execution.kubernetes import Builder, Secrets
    from modelyard.store import PipelineRun, Store, StoreAddress

_START_SECONDS = 600  # a new node, and the first pull of an image of gigabytes
_LOOK_SECONDS = 0.5  # between two looks at a pod that begins
_LOGGED_EVERY_SECONDS = 3  # of a pod that the triggerer waits for
_TRY = "modelyard.io/try"  # annotation: which try of the task waits for the pod
_CONFLICT = 409
_REMOVAL_TRIES = 5
_ENDING_SECONDS = 2.0  # between two looks at a pod that is being ended


@dataclass(frozen=True)
class Cluster:
    """Where pods run.

    Attributes:
        conn_id: Airflow's connection to the cluster.
        namespace: of the pods and of their Secrets.
        runner_image: the image of the steps; those that run the project's code have one that lies on it.
        deadline_seconds: no step's pod lives longer than this.
        gpu_resource: what the cluster calls a GPU.
        forbidden: keys of model.yaml's ``steps`` that no project may use.
        store_secret: an existing Secret with the store's address; None: Airflow applies one.
        builder: builds the Dockerfiles of projects, beside the step `prepare`.
        template: the administrator's own pod, which each step's is merged onto.
    """

    conn_id: str
    namespace: str
    runner_image: str
    deadline_seconds: int
    gpu_resource: str = "nvidia.com/gpu"
    forbidden: tuple[str, ...] = ()
    store_secret: str | None = None
    builder: Builder | None = None
    template: Mapping[str, Any] | None = None


class KubernetesStepOperator(KubernetesPodOperator):
    """Runs one step of a pipeline as a pod, and waits for it in the worker: its lines come as they are written.

    With ``defer: true`` in model.yaml the triggerer waits, and no worker is taken up meanwhile.
    A try after the worker's death takes up the pod that is still running. A pod that has failed is kept to be looked
    at, one that has succeeded is removed. What the step left is in the store; its XCom repeats the ids and digests.

    Args:
        pipeline_step: which step, of which project.
        cluster: where its pod runs.
    """

    ui_color = "#e8eef6"

    def __init__(self, *, pipeline_step: PipelineStep, cluster: Cluster, **kwargs: Any) -> None:
        refuse_forbidden(pipeline_step.step, pipeline_step.settings, cluster.forbidden)
        super().__init__(
            kubernetes_conn_id=cluster.conn_id,
            namespace=cluster.namespace,
            image=cluster.runner_image,
            # Only when asked: a task that defers and comes back within seconds is failed by Airflow 3.3's scheduler.
            deferrable=bool(pipeline_step.settings.get("defer")),
            logging_interval=_LOGGED_EVERY_SECONDS,
            # The side-car that it takes needs an image of its own and the right to run commands in pods.
            do_xcom_push=False,
            on_finish_action="delete_succeeded_pod",
            startup_timeout_seconds=_START_SECONDS,
            startup_check_interval_seconds=_LOOK_SECONDS,  # type: ignore[arg-type]  # it sleeps so long, no more
            base_container_status_polling_interval=_LOOK_SECONDS,
            container_name_log_prefix_enabled=False,
            log_events_on_startup=False,  # it has the API server read all events of the namespace, again and again
            log_events_on_failure=True,
            # So that the task, and `kubectl describe`, tell an error that could not be written to the store.
            termination_message_policy="FallbackToLogsOnError",
            **kwargs,
        )
        self.pipeline_step = pipeline_step
        self.cluster = cluster
        self.operator_extra_links = BUTTONS.get(pipeline_step.step, ())
        self.links: dict[str, str] = {}
        self._waiting = False
        self._try = ""

    def execute(self, context: Context) -> JSON:
        """Run the step's pod to its end and return the ids and digests that the step left."""

        def start(store: Store, run: PipelineRun, command: Command) -> None:
            self._check(store, run, command)
            self.image = command.image or self.cluster.runner_image
            self.pod_template_dict = self._pod(context, store, run, command)
            self.pod_template_dict["metadata"]["annotations"][_TRY] = self._try
            super(KubernetesStepOperator, self).execute(context)

        return self._run(context, start)

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> JSON:
        """Go on when the triggerer has seen the pod's end: as ``execute`` does that has waited itself."""
        reenter = super().trigger_reentry
        if self._waiting:  # a pod that was taken up had ended before the triggerer was asked
            reenter(context, event)
            return {}
        return self._run(context, lambda *_: reenter(context, event))

    def _run(self, context: Context, wait: Callable[[Store, PipelineRun, Command], None]) -> JSON:
        self._try = str(context["ti"].id)
        try:
            with ModelStoreHook(self.pipeline_step.conn_id) as store:
                run, command = self.pipeline_step.begin(context, store)
                ended = self._ended(context, lambda: wait(store, run, command))
                self.links = self.pipeline_step.links(store, run)
                result = self.pipeline_step.end(context, store, run, ended)
        except ModelyardError as error:
            raise task_failure(error) from error
        except ApiException as error:
            raise AirflowException(self._refused(error)) from error
        except HTTPError as error:
            raise ClusterAwayError(self.cluster.conn_id, error) from error
        context["ti"].xcom_push(key="return_value", value=result)  # Airflow does it only with `do_xcom_push`
        return result

    def _check(self, store: Store, run: PipelineRun, command: Command) -> None:
        """Refuse what cannot go well in a pod before there is one."""
        from modelyard.execution.kubernetes import check_target
        from modelyard.execution.reach import check_reachable, check_source

        check_reachable(store.address, self.pipeline_step.conn_id, "pod")
        if command.step == "prepare" and run.params.get("version") is None:
            check_source(run.project, "pod")
        if command.step in plan.DEPLOYING:
            check_target(run.settings["environment"], run.settings["target"])

    def _pod(self, context: Context, store: Store, run: PipelineRun, command: Command) -> JSON:
        """Return the manifest of the step's pod, with the Secrets that it uses in the cluster."""
        from modelyard.execution.kubernetes import step_pod
        from modelyard.images import open_images

        step, cluster, params = self.pipeline_step, self.cluster, context["params"]
        settings = step.settings_of(params)
        refuse_forbidden(step.step, settings, cluster.forbidden)  # a rollback's are known only now
        asked = step_settings(step.step, settings, params, cluster.forbidden)
        images = open_images(store.address, ModelStoreHook(step.conn_id).home())
        return step_pod(
            replace(command, resources=asked.resources.quantities(), pod=asked.pod.to_json()),
            runner_image=cluster.runner_image,
            secrets=self._secrets(params, store.address, step.cluster_access(run)),
            images_beside={name: images.reference(one.repository, one.digest) for name, one in command.beside.items()},
            deadline_seconds=cluster.deadline_seconds,
            gpu_resource=cluster.gpu_resource,
            builder=cluster.builder if step.has_dockerfile(params) else None,
            template=cluster.template,
        )

    def _secrets(self, params: Mapping[str, Any], address: StoreAddress, access: ClusterAccess | None) -> Secrets:
        """Return the Secrets of the step's pod: named by the configuration, or made of the connections."""
        from modelyard.execution.kubernetes import Secrets
        from modelyard.execution.secrets import address_secret, cluster_secret, git_secret, pull_secret, signing_secret

        step = self.pipeline_step
        store, git, pull = self.cluster.store_secret, step.git_secret(params), None
        if store is None:
            store = self._apply(address_secret(address, step.conn_id))
            registry_conn_id = ModelStoreHook(step.conn_id).registry_conn_id()
            login = None if registry_conn_id is None else pull_secret(address, registry_conn_id)
            pull = None if login is None else self._apply(login)
        credentials, git_conn_id = step.git_credentials(params), step.git_conn_id(params)
        if git is None and credentials is not None and git_conn_id is not None:
            git = self._apply(git_secret(credentials, git_conn_id, address.installation))
        signing, signing_conn_id = step.signing_secret(), step.signing_conn_id()
        if signing is None and signing_conn_id is not None and (key := step.signing_key()) is not None:
            signing = self._apply(signing_secret(key, signing_conn_id, address.installation))
        if access is None:
            return Secrets(store, git, pull, signing=signing)
        cluster = self._apply(cluster_secret(access, address.installation))
        return Secrets(store, git, pull, cluster, elsewhere=access.kubeconfig is not None)

    @cached_property
    def hook(self) -> StepClusterHook:
        """What the cluster is asked by."""
        return StepClusterHook(conn_id=self.kubernetes_conn_id)

    @cached_property
    def pod_manager(self) -> StepPods:
        """What looks at the pod."""
        return StepPods(kube_client=self.client, callbacks=self.callbacks)

    def get_or_create_pod(self, pod_request_obj: V1Pod, context: Context) -> V1Pod:
        """Return this task's pod, unless the task was stopped by now: nobody would wait for that pod, or end it."""
        self.pod = None if self._killed else self._taken(pod_request_obj, context)
        if not self._killed:
            return self.pod
        self.on_kill()  # once more: when it came the pod was being made
        raise AirflowException(f"Step '{self.pipeline_step.step}' was stopped before it began")

    def _taken(self, pod_request_obj: V1Pod, context: Context) -> V1Pod:
        """Return this task's pod, taken up or new, with a note that it is this try's now."""
        deadline = time.monotonic() + self.startup_timeout_seconds
        while (pod := super().get_or_create_pod(pod_request_obj, context)) is not pod_request_obj:
            if not pod.metadata.deletion_timestamp:
                self._take_up(pod)
                break
            self.log.info("Pod %s of an earlier try is still being ended", pod.metadata.name)
            if time.monotonic() > deadline:
                raise AirflowException(
                    f"Pod {pod.metadata.name} of an earlier try does not end\n  → look at its node; if that is gone: "
                    f"kubectl -n {pod.metadata.namespace} delete pod {pod.metadata.name} --force"
                )
            time.sleep(_ENDING_SECONDS)
        return pod

    @generic_api_retry  # type: ignore[untyped-decorator]  # it has no types
    def _take_up(self, pod: V1Pod) -> None:
        note = {"metadata": {"annotations": {_TRY: self._try}}}
        self.client.patch_namespaced_pod(pod.metadata.name, pod.metadata.namespace, note)

    def on_kill(self) -> None:
        """Remove the pod, unless another try has taken it up: then it is this one that was given up for dead."""
        self._killed = True
        for _ in range(_REMOVAL_TRIES):
            if self.pod is None or not self._remove(self.pod.metadata.name, self.pod.metadata.namespace):
                return

    def _remove(self, name: str, namespace: str) -> bool:
        """Remove a pod of this try; return whether it has changed meanwhile, so that it is to be looked at again."""
        try:
            found = self.client.read_namespaced_pod(name, namespace)
            if (found.metadata.annotations or {}).get(_TRY) != self._try:
                self.log.info("Another try has taken up pod %s", name)
                return False
            unchanged = {"uid": found.metadata.uid, "resourceVersion": found.metadata.resource_version}
            self.client.delete_namespaced_pod(name, namespace, body={"preconditions": unchanged})
        except (ApiException, HTTPError, ClusterAwayError) as error:
            if getattr(error, "status", None) == _CONFLICT:
                return True
            self.log.warning("Pod %s is not removed: %s", name, said(error))  # its deadline ends it
        return False

    @generic_api_retry  # type: ignore[untyped-decorator]  # it has no types
    def find_pod(self, namespace: str, context: Context, *, exclude_checked: bool = True) -> V1Pod | None:
        """Return this task's pod, as its superclass does, which asks once only."""
        return super().find_pod(namespace, context, exclude_checked=exclude_checked)

    @generic_api_retry  # type: ignore[untyped-decorator]  # it has no types
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

    def _ended(self, context: Context, wait: Callable[[], None]) -> Ended:
        """Wait for the pod's end, and return how the step in it ended."""
        self._waiting = True
        try:
            wait()
        except AirflowException:
            pod = self.pod if self.deferrable else self.remote_pod
            if pod is None or (ended := end_of(pod)) is None:
                raise
            return ended
        finally:
            self._waiting = False
        return Ended(0, context["ti"].try_number)

    def _refused(self, error: ApiException) -> str:
        told = said(error)
        if error.status == 401 or (error.status == 403 and " cannot " in told):
            remedy = f"give that account the rights of docker/kubernetes in '{self.namespace}'"
            return f"The cluster lets the account of '{self.cluster.conn_id}' not do this: {told}\n  → {remedy}"
        if error.status == 403 and "PodSecurity" in told and self.pipeline_step.step == "prepare":
            return (
                f"The namespace '{self.namespace}' takes no pod that builds a Dockerfile: {told}\n"
                "  → have its administrator allow what docker/README.md says of Dockerfiles"
            )
        remedy = {
            # A quota, a LimitRange and the Pod Security Standard, too.
            403: "ask for less in model.yaml, or have the namespace's limits changed",
            404: f"see that the namespace '{self.namespace}' is there: docker/kubernetes/modelyard.yaml makes one",
            422: "correct the step's `pod` in model.yaml, or the administrator's pod template",
        }.get(error.status, "see what the cluster's API server says at that time, then clear the task")
        return f"The cluster refused the pod of step '{self.pipeline_step.step}': {told}\n  → {remedy}"
