"""What of a pod is judged: what a roll-out says of a real cluster's pods is in tests/kubernetes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelyard.deployment import PredictionLog
from modelyard.deployment.kubernetes import rollout
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


def with_shipper(status: dict[str, Any], events: list[str]) -> RollOut:
    destination = {"MODELYARD_ARTIFACTS": "s3://bucket"}
    log = PredictionLog(1.0, (), 2**30, 60, "served/wine/production", destination, True, "registry/runner:1")
    cluster: Any = OnePod({"restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}})
    cluster.pod["status"]["initContainerStatuses"] = [{"name": "shipper", "ready": False, "restartCount": 0} | status]
    cluster.events = lambda *_: events
    return RollOut(cluster, PLACE, replace(RELEASE, log=log))


def test_an_image_of_the_shipper_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "_REFUSED", 0)
    waiting = {"reason": "ErrImagePull", "message": "manifest unknown"}
    with pytest.raises(NotUpError, match="the image registry/runner:1 cannot be pulled: manifest unknown"):
        with_shipper({"state": {"waiting": waiting}}, []).finished(DEPLOYMENT)


def test_a_shipper_that_keeps_ending_is_told_with_its_last_lines() -> None:
    state = {"state": {"waiting": {}}, "restartCount": 2, "lastState": {"terminated": {"exitCode": 1}}}
    with pytest.raises(NotUpError, match=r"(?s)the shipper in pod wine-1 ended with exit code 1.*of the previous one"):
        with_shipper(state, []).finished(DEPLOYMENT)


def test_a_secret_that_is_missing_is_named_with_what_belongs_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "_REFUSED", 0)
    coming = {"state": {"waiting": {"reason": "PodInitializing"}}}
    assert not with_shipper(coming, ["Unhealthy: something else"]).finished(DEPLOYMENT)
    missing = (
        'FailedMount: MountVolume.SetUp failed for volume "shipper" : secret "modelyard-predictions-wine" not found'
    )
    with pytest.raises(
        NotUpError, match=r'secret "modelyard-predictions-wine" not found \(`modelyard predictions policy'
    ):
        with_shipper(coming, [missing]).finished(DEPLOYMENT)
