"""What of a pod is judged: what a roll-out says of a real cluster's pods is in tests/kubernetes."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.deployment.kubernetes.manifests import Place, Release, labels_of
from modelyard.deployment.kubernetes.rollout import NotUpError, RollOut

PLACE = Place("wine", "production", "production")
RELEASE = Release(2, 102, "wine@sha256:ab", "sha256:ab", 2, 1, 1, None, None, 30.0)
DEPLOYMENT = {
    "metadata": {"generation": 2},
    "spec": {"replicas": 1},
    "status": {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1},
}


class OnePod:
    """A cluster with one pod of the release, in which a proxy stands beside the server."""

    def __init__(self, server: dict[str, Any]) -> None:
        proxy = {"name": "proxy", "ready": True, "restartCount": 0, "state": {"running": {}}}
        statuses = [proxy, {"name": "server", "ready": False} | server]
        self.pod = {
            "metadata": {"name": "wine-1", "labels": labels_of(RELEASE, PLACE)},
            "status": {"phase": "Running", "containerStatuses": statuses},
        }

    def pods(self, *_: object) -> list[dict[str, Any]]:
        return [self.pod]

    def log(self, *_: object, previous: bool) -> str:
        return f"of the {'previous' if previous else 'current'} one"

    def events(self, *_: object) -> list[str]:
        return []


def test_the_server_is_judged_and_not_what_a_service_mesh_puts_beside_it():
    cluster: Any = OnePod({"restartCount": 2, "state": {"waiting": {}}, "lastState": {"terminated": {"exitCode": 3}}})
    with pytest.raises(NotUpError, match=r"(?s)wine-1 ended with exit code 3 .*of the previous one"):
        RollOut(cluster, PLACE, RELEASE).finished(DEPLOYMENT)


def test_a_server_that_starts_has_its_time():
    cluster: Any = OnePod({"restartCount": 0, "state": {"running": {}}})
    assert not RollOut(cluster, PLACE, RELEASE).finished(DEPLOYMENT)
