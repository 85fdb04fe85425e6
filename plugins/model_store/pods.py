"""How the worker looks at a step's pod: oftener than Airflow's own pod manager, as a step may be over in a second."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow.providers.cncf.kubernetes.utils.pod_manager import PodManager, PodPhase, detect_pod_terminate_early_issues

if TYPE_CHECKING:
    from kubernetes.client.models import V1Pod

_SHORTEST, _LONGEST = 0.05, 2.0  # seconds between two looks: twice as long after each
# A node tells of a container's end up to a second after its last line; the log would be asked for anew meanwhile.
_TOLD_SECONDS = 1.5


class StepPods(PodManager):
    """Airflow's pod manager, where it waits for what is about to happen."""

    def await_pod_completion(
        self,
        pod: V1Pod,
        istio_enabled: bool = False,  # noqa: ARG002 - of the superclass, for containers that outlive the step's
        container_name: str = "base",  # noqa: ARG002
        do_xcom_push: bool = False,  # noqa: ARG002
    ) -> V1Pod:
        """Return the pod once it has ended, or can't begin."""
        pause = _SHORTEST
        while True:
            found = self.read_pod(pod)
            if found.status.phase in PodPhase.terminal_states or detect_pod_terminate_early_issues(found):
                return found
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST)

    def container_is_running(self, pod: V1Pod, container_name: str) -> bool:
        """Return whether a container whose log has ended runs on."""
        deadline = time.monotonic() + _TOLD_SECONDS
        while running := super().container_is_running(pod, container_name):
            if time.monotonic() > deadline:
                break
            time.sleep(_SHORTEST)
        return bool(running)
