"""A pod that looks around as a step's would, and is gone afterwards."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from modelyard import pod_security
from modelyard.deployment.kubernetes.cluster import Cluster
from modelyard.doctor.finding import Finding
from modelyard.doctor.probe import Seen
from modelyard.errors import DeploymentFailed, Unavailable
from modelyard.execution.kubernetes import CONTAINER
from modelyard.execution.pod_template import merged

JSON = dict[str, Any]

_START_SECONDS = 45.0
_PULL_SECONDS = 300.0  # the first pull of an image of a gigabyte
_RUN_SECONDS = 30.0
_POLL_SECONDS = 0.5
_DEADLINE_SECONDS = 600  # of the cluster's own, should nobody be left to delete the pod
_SIZE = {"cpu": "200m", "memory": "256Mi", "ephemeral-storage": "64Mi"}


@dataclass(frozen=True)
class Runner:
    """The runner image, and what the pods of steps have beside it.

    Attributes:
        image: its full name.
        pull_secret: the Secret that opens the registry to the nodes, if it needs one.
        template: the administrator's own pod, if there is one.
    """

    image: str
    pull_secret: str | None = None
    template: Mapping[str, Any] | None = None


def run(
    cluster: Cluster,
    namespace: str,
    account: str,
    runner: Runner,
    arguments: Sequence[str],
    progress: Callable[[str], None],
    *,
    token: bool,
) -> tuple[Seen | Finding, float]:
    """Run ``modelyard doctor-probe`` in a pod to its end; the pod is deleted whatever happens meanwhile.

    Args:
        cluster: whose account may run steps.
        namespace: of the pod.
        account: its service account.
        runner: what it runs.
        arguments: of the command.
        progress: told what is waited for.
        token: whether it gets the account's token.

    Returns:
        What it saw, or why it saw nothing; and by how many seconds its clock is ahead.
    """
    subject, image = f"Pod as {account}", runner.image
    try:
        with _started(cluster, _manifest(namespace, account, runner, arguments, token=token), progress) as path:
            progress(f"Waiting for a pod as {account} with {image} …")
            before, pod = _wait(cluster, path)
            after = time.time()
            state = _state(pod)
            if "terminated" not in state:
                return Finding("failed", subject, *_not_started(pod, state, image)), 0.0
            said = cluster.log(pod, CONTAINER, 20, previous=False)
        seen = _seen(state["terminated"], said)
        if seen is None:
            why = state["terminated"].get("message") or _last(said) or state["terminated"].get("reason")
            remedy = f"make it of this Modelyard: modelyard image runner --push {image.partition('@')[0]}"
            return Finding("failed", subject, f"{image} cannot look around: {why}", remedy), 0.0
        return seen, max(0.0, seen.time - after) or min(0.0, seen.time - before)
    except DeploymentFailed as error:
        remedy = "apply docker/kubernetes/modelyard.yaml, and give this account the rights of Airflow's worker there"
        return Finding("failed", subject, error.message, remedy), 0.0


@contextmanager
def _started(cluster: Cluster, manifest: JSON, progress: Callable[[str], None]) -> Iterator[str]:
    """Create a pod, and delete it whatever happens meanwhile; its deadline is for when that is not possible."""
    namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
    pods = f"/api/v1/namespaces/{quote(namespace)}/pods"
    cluster.ask_once("POST", pods, manifest)
    try:
        yield f"{pods}/{name}"
    finally:
        try:
            cluster.ask_once("DELETE", f"{pods}/{name}", {"gracePeriodSeconds": 0}, accept=(404,))
        except (DeploymentFailed, Unavailable) as error:
            progress(f"The pod is left: {error.message}\n  → kubectl -n {namespace} delete pod {name}")


def _wait(cluster: Cluster, path: str) -> tuple[float, JSON]:
    """Return the pod when it has ended, or does not get on; and when it was last seen before that."""
    begun = last = time.time()
    running: float | None = None
    while True:
        asked = time.time()
        _, _, pod = cluster.ask_once("GET", path)
        state = _state(pod)
        if "terminated" in state or pod["status"].get("phase") == "Failed":
            return last, pod
        if "running" in state:
            running = running or asked
            limit = running + _RUN_SECONDS
        else:
            reason = state.get("waiting", {}).get("reason", "")
            if reason not in ("", "ContainerCreating", "PodInitializing"):
                return last, pod
            limit = begun + (_PULL_SECONDS if reason else _START_SECONDS)
        if asked > limit:
            return last, pod
        last = asked
        time.sleep(_POLL_SECONDS)


def _state(pod: JSON) -> JSON:
    """Return the state of the step's container; a service mesh may put others beside it."""
    statuses = {status["name"]: status for status in pod["status"].get("containerStatuses") or ()}
    state: JSON = statuses.get(CONTAINER, {}).get("state") or {}
    return state


def _not_started(pod: JSON, state: JSON, image: str) -> tuple[str, str]:
    """Say why a pod did not get to its end, and what to do."""
    waiting = state.get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if "Image" in reason or reason == "ErrImagePull":
        return (
            f"the cluster cannot pull {image}: {message or reason}",
            "push it; let the nodes reach the registry, trust its certificate, and log in (imagePullSecrets)",
        )
    if reason and reason not in ("ContainerCreating", "PodInitializing"):
        return f"{reason}: {message}", "see kubectl describe pod for the whole story"
    conditions = {one["type"]: one for one in pod["status"].get("conditions") or ()}
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") != "True":
        return f"no node takes it: {scheduled.get('message') or 'the scheduler is silent'}", "make room on the nodes"
    what = "it runs, and has not ended" if "running" in state else f"it is not started yet ({reason or 'no reason'})"
    return f"{what}: the time is up", "see the events of the node, and whether it is still pulling the image"


def _seen(terminated: JSON, said: str) -> Seen | None:
    """Return what a pod saw; None where its image is another one, or of another Modelyard."""
    if terminated["exitCode"] != 0:
        return None
    try:
        return Seen.read(json.loads(_last(said)))
    except (ValueError, KeyError, TypeError):
        return None


def _last(said: str) -> str:
    return said.splitlines()[-1] if said else ""


def _manifest(namespace: str, account: str, runner: Runner, arguments: Sequence[str], *, token: bool) -> JSON:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"modelyard-doctor-{secrets.token_hex(4)}",
            "namespace": namespace,
            "labels": {
                "app.kubernetes.io/name": "modelyard-step",  # what network policies for steps go by
                "app.kubernetes.io/component": "doctor",
                "app.kubernetes.io/managed-by": "modelyard",
            },
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": _DEADLINE_SECONDS,
            "serviceAccountName": account,
            "automountServiceAccountToken": token,
            "enableServiceLinks": False,
            "imagePullSecrets": [{"name": runner.pull_secret}] if runner.pull_secret else [],
            "securityContext": pod_security.of_pod(),
            "containers": [
                {
                    "name": CONTAINER,
                    "image": runner.image,
                    "args": ["doctor-probe", *arguments],
                    "resources": {"requests": _SIZE, "limits": _SIZE},  # where there is a quota, a pod has to say
                    "securityContext": pod_security.of_container(),
                }
            ],
        },
    }
    return merged(dict(runner.template), pod) if runner.template else pod
