"""A step's pod as the worker sees it: looked at often enough for a step of a second, and how it ended."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

from airflow.providers.cncf.kubernetes.utils.container import container_is_completed, container_is_succeeded
from airflow.providers.cncf.kubernetes.utils.pod_manager import PodManager, PodPhase, detect_pod_terminate_early_issues

from model_store.run import Ended

if TYPE_CHECKING:
    from kubernetes.client.exceptions import ApiException
    from kubernetes.client.models import V1Pod
    from urllib3.exceptions import HTTPError

_SHORTEST, _LONGEST, _LONGER = 0.05, 2.0, 1.2  # seconds between two looks, and so much longer after each
# A node tells of a container's end up to a second after its last line; the log would be asked for anew meanwhile.
_TOLD_SECONDS = 1.5
_TERMINATED = 128 + 15
_TOLD = re.compile(r"^Step '\w+' failed: ", re.MULTILINE)  # as a step's last lines have it


class StepPods(PodManager):
    """Airflow's pod manager, where it waits for what is about to happen."""

    def await_pod_completion(
        self,
        pod: V1Pod,
        istio_enabled: bool = False,
        container_name: str = "base",
        do_xcom_push: bool = False,
    ) -> V1Pod:
        """Return the pod once it has ended, or can't begin; as one that has succeeded once its container has."""
        pause = _SHORTEST
        while True:
            found = self.read_pod(pod)
            if found.status.phase in PodPhase.terminal_states or detect_pod_terminate_early_issues(found):
                return found
            if container_is_succeeded(found, container_name):
                # The cluster says so of the pod a second later, or when what serves beside the container has ended.
                found.status.phase = PodPhase.SUCCEEDED
                return found
            if (istio_enabled or do_xcom_push) and container_is_completed(found, container_name):
                return found
            time.sleep(pause)
            pause = min(_LONGER * pause, _LONGEST)

    def container_is_running(self, pod: V1Pod, container_name: str) -> bool:
        """Return whether a container whose log has ended runs on."""
        deadline = time.monotonic() + _TOLD_SECONDS
        while running := super().container_is_running(pod, container_name):
            if time.monotonic() > deadline:
                break
            time.sleep(_SHORTEST)
        return bool(running)


def said(error: ApiException | HTTPError) -> str:
    """Return the words of a cluster's API server, or of what kept it from answering."""
    try:
        return str(json.loads(getattr(error, "body", ""))["message"])
    except (TypeError, ValueError, KeyError):
        return str(getattr(error, "reason", error))


def end_of(pod: V1Pod) -> Ended | None:
    """Return how the step in ``pod`` ended; None when it never started."""
    from modelyard.execution.kubernetes import CONTAINER

    if pod.status is None:  # it is what was asked for, and nothing came of it
        return None
    try_number = int(pod.metadata.labels["try_number"])
    states = {status.name: status.state for status in pod.status.container_statuses or ()}
    terminated = states[CONTAINER].terminated if CONTAINER in states else None
    if pod.status.reason:  # the cluster ended the whole pod
        message = f": {pod.status.message}" if pod.status.message else ""
        code = _TERMINATED if terminated is None else terminated.exit_code or _TERMINATED
        too_long = pod.status.reason == "DeadlineExceeded"
        remedy = "\n  → let it take longer: deadline_seconds in Airflow's section [modelyard]" if too_long else ""
        why = f"was ended by the cluster ({pod.status.reason}{message}){remedy}"
        return Ended(code, try_number, why, again=not too_long)
    if terminated is None:
        return None
    if terminated.reason == "OOMKilled":
        why = "took more memory than it may\n  → give it more by the Param resources.…, or by `steps` in model.yaml"
        return Ended(terminated.exit_code, try_number, why, again=False)
    _, *told = _TOLD.split(terminated.message or "")
    return Ended(terminated.exit_code, try_number, said=told[-1].strip() if told else "")
