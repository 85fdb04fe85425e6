"""How a roll-out stands, and why it does not get on, in words for people."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from modelyard.deployment.kubernetes import side_car
from modelyard.deployment.kubernetes.cluster import Cluster
from modelyard.deployment.kubernetes.manifests import CONTAINER, Place, Release, labels_of
from modelyard.deployment.target import JSON

# Seconds that a trouble may last before it is final. A registry may be away; a node may have to be added.
_REFUSED = 10.0
_PULL = 90.0
_AGAIN = 120.0
_NODE = 180.0
_LONGEST = 900.0
_LOG_LINES, _EVENTS = 15, 5
# Kinds of trouble: a server that is on its way, and pods for which there is no room.
_COMING, _NO_ROOM = "ready", ("node", "refused")
# Part of what a registry or container runtime says, when asking again cannot help.
_FINAL = ("not found", "denied", "unauthorized", "forbidden", "manifest unknown", "invalid", "no match for platform")
_CANNOT_START = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
_CANNOT_PULL = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}


class NotUpError(Exception):
    """The release does not come up; the message says why."""


@dataclass(frozen=True)
class _Trouble:
    key: tuple[str, str]  # its kind and its pod: what has the same key lasts
    text: str
    patience: float
    pod: JSON | None = None  # whose events belong to it
    log: str | None = None  # and whose last lines: of its "current" container, or of the "previous" one
    container: str = CONTAINER


@dataclass
class RollOut:
    """One release on its way; ask :meth:`finished` again and again."""

    cluster: Cluster
    place: Place
    release: Release
    _began: float = field(default_factory=time.monotonic)
    _since: dict[tuple[str, str], float] = field(default_factory=dict)

    def finished(self, deployment: JSON) -> bool:
        """Return whether all pods are the release's, ready, and no other one can answer any more.

        Raises:
            NotUpError: it will not come so far.
        """
        pods = self.cluster.pods(self.place.namespace, self.place.selector)
        mine = labels_of(self.release, self.place).items()
        new = [pod for pod in pods if mine <= pod["metadata"]["labels"].items()]
        old = [pod for pod in pods if pod not in new and pod["status"].get("phase") not in ("Failed", "Succeeded")]
        status = deployment.get("status", {})
        seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        wanted = deployment["spec"]["replicas"]
        counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
        if seen and counts == [wanted] * 3:
            if not old:
                return True
        elif seen:
            ending = any("deletionTimestamp" in pod["metadata"] for pod in old)
            self._judge(deployment, [pod for pod in new if "deletionTimestamp" not in pod["metadata"]], ending)
        if time.monotonic() - self._began > _LONGEST + self.release.ready_timeout:
            raise NotUpError(
                f"the roll-out has not ended: of {wanted} replicas {counts[2]} are ready, {len(old)} old ones remain"
            )
        return False

    def _judge(self, deployment: JSON, pods: list[JSON], room_comes: bool) -> None:
        """Raise what has been wrong for too long; that there is no room does not count while some is being made."""
        troubles = [trouble for trouble in (_refused(deployment), *map(self._trouble, pods)) if trouble]
        if room_comes or any(trouble.key[0] == _COMING for trouble in troubles):
            troubles = [trouble for trouble in troubles if trouble.key[0] not in _NO_ROOM]
        now = time.monotonic()
        # By pod: the second replica's time begins with itself, not with the first one's.
        self._since = {trouble.key: self._since.get(trouble.key, now) for trouble in troubles}
        for trouble in troubles:
            if now - self._since[trouble.key] >= trouble.patience:
                raise NotUpError(self._told(trouble))

    def _told(self, trouble: _Trouble) -> str:
        text = trouble.text
        if trouble.pod is None:
            return text
        if trouble.log is not None:
            lines = self.cluster.log(trouble.pod, trouble.container, _LOG_LINES, previous=trouble.log == "previous")
            text += f"; its last lines:\n{lines}" if lines else "; it has written nothing"
        events = self.cluster.events(trouble.pod, _EVENTS)
        return text + ("\nThe cluster's events:\n" + "\n".join(events) if events else "")

    def _trouble(self, pod: JSON) -> _Trouble | None:
        name = pod["metadata"]["name"]
        for condition in pod["status"].get("conditions", ()):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return _Trouble(("node", name), f"no node takes pod {name}: {condition.get('message', '')}", _NODE, pod)
        if pod["status"].get("phase") == "Failed":
            return _Trouble(("failed", name), f"pod {name} was ended: {pod['status'].get('message', '')}", _PULL, pod)
        statuses = {
            status["name"]: status
            for kind in ("containerStatuses", "initContainerStatuses")
            for status in pod["status"].get(kind, ())
        }
        shipper, server = statuses.get(side_car.CONTAINER), statuses.get(CONTAINER)
        # A service mesh puts others beside it.
        if self.release.log is not None and shipper is not None and not shipper.get("ready"):
            return self._trouble_of(pod, shipper, side_car.CONTAINER) or self._no_secret(pod)
        if server is None or server.get("ready"):
            return None
        return self._trouble_of(pod, server, CONTAINER) or (self._no_secret(pod) if self.release.tokens else None)

    def _no_secret(self, pod: JSON) -> _Trouble | None:
        """The pod waits for a Secret: the cluster says so in an event alone."""
        found = [event for event in self.cluster.events(pod, _EVENTS) if event.startswith("FailedMount")]
        if not found:
            return None
        name, text = pod["metadata"]["name"], found[-1]
        if side_car.secret_name(self.place.model) in text:
            text += f" (`modelyard predictions policy {self.place.model}` tells what belongs there)"
        return _Trouble(("mount", name), f"pod {name} does not start: {text}", _REFUSED, pod)

    def _trouble_of(self, pod: JSON, container: JSON, what: str) -> _Trouble | None:
        name = pod["metadata"]["name"]
        waiting = container["state"].get("waiting", {})
        reason, message = waiting.get("reason"), waiting.get("message", "")
        if reason in _CANNOT_PULL:
            final = reason == "InvalidImageName" or any(part in message.lower() for part in _FINAL)
            image = self.release.image if what == CONTAINER or self.release.log is None else self.release.log.image
            text = f"the image {image} cannot be pulled: {message or reason}"
            return _Trouble(("pull", name), text, _REFUSED if final else _PULL, pod)
        if reason in _CANNOT_START:
            text = f"the container {what} of pod {name} cannot be started: {message or reason}"
            return _Trouble(("start", name), text, _REFUSED, pod)
        ended = container["state"].get("terminated") or container.get("lastState", {}).get("terminated")
        if ended and (container["restartCount"] > 0 or "terminated" in container["state"]):
            again = container["restartCount"] > 1 or reason == "CrashLoopBackOff"
            why = (
                "ran out of memory"
                if ended.get("reason") == "OOMKilled"
                else f"ended with exit code {ended['exitCode']}"
            )
            log = "current" if "terminated" in container["state"] else "previous"
            patience = 0 if again else self.release.ready_timeout
            text = f"the {what} in pod {name} {why} as it started"
            return _Trouble(("crash", name), text, patience, pod, log, what)
        if what == CONTAINER and "running" in container["state"]:
            seconds = self.release.ready_timeout
            return _Trouble(
                (_COMING, name), f"the server in pod {name} was not ready within {seconds:g} s", seconds, pod, "current"
            )
        return None


def _refused(deployment: JSON) -> _Trouble | None:
    """A quota, a limit or a security standard of the namespace that lets no pod in."""
    for condition in deployment.get("status", {}).get("conditions", ()):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            # It tries again by itself, but less and less often.
            patience = _AGAIN if deployment["status"].get("updatedReplicas", 0) else _REFUSED
            return _Trouble(("refused", ""), f"the cluster lets no pod in: {condition.get('message', '')}", patience)
    return None
