"""Steady requests from a pod, to the address that a Service has in the cluster."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernetes import client
from tests.fixtures_cluster import TestCluster
from tests.model_images import MODEL
from tests.processes import wait_until

SCRIPT = Path(__file__).parents[1] / "load.py"
NAME = "load"


@dataclass
class ClusterLoad:
    """What eight clients with kept connections and eight with new ones have seen so far.

    Attributes:
        answers: right answers, by the version that gave them.
        seen: when the last one of a version came, as time.monotonic().
        failures: in words, with the time of each in ``failed``; a reset connection is one, and so is a wrong answer.
    """

    answers: Counter[int] = field(default_factory=Counter)
    seen: dict[int, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    failed: list[float] = field(default_factory=list)

    @property
    def count(self) -> int:
        """All right answers."""
        return self.answers.total()

    def wait_for(self, more: int) -> None:
        """Wait until that many more requests were answered."""
        goal = self.count + more
        wait_until(lambda: self.count >= goal, f"{more} more answers: {self.failures[-3:]}", 60)

    def note(self, line: str) -> None:
        """Take up a line that the pod has written."""
        told = json.loads(line)
        for version, number in told["versions"].items():
            self.answers[int(version)] += number
            self.seen[int(version)] = time.monotonic()
        self.failures += told["failures"]
        self.failed += [time.monotonic()] * len(told["failures"])


@contextmanager
def cluster_load(cluster: TestCluster, namespace: str) -> Iterator[ClusterLoad]:
    """Ask the service of the model of these tests from a pod in its namespace while the block runs."""
    core = client.CoreV1Api(cluster.api)
    core.create_namespaced_config_map(
        namespace, {"metadata": {"name": NAME}, "data": {SCRIPT.name: SCRIPT.read_text()}}
    )
    arguments = [f"/script/{SCRIPT.name}", f"{MODEL}.{namespace}.svc", "80", json.dumps({"rows": [{"x": 2}]}), "2"]
    container = {
        "name": NAME,
        "image": f"{cluster.registry}/library/python:3.11-slim",
        "command": ["python3", *arguments],
        "volumeMounts": [{"name": "script", "mountPath": "/script"}],
        "resources": {"limits": {"cpu": "500m"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "script", "configMap": {"name": NAME}}],
    }
    core.create_namespaced_pod(namespace, {"metadata": {"name": NAME}, "spec": spec})
    load = ClusterLoad()
    try:
        wait_until(lambda: core.read_namespaced_pod(NAME, namespace).status.phase == "Running", "a pod that asks", 60)
        answer = core.read_namespaced_pod_log(NAME, namespace, follow=True, _preload_content=False)
        reader = threading.Thread(target=_read, args=(answer, load), daemon=True)
        reader.start()
        yield load
    finally:
        core.delete_namespaced_pod(NAME, namespace, grace_period_seconds=0)
        core.delete_namespaced_config_map(NAME, namespace)
    reader.join(30)


def _read(answer: Any, load: ClusterLoad) -> None:
    rest = b""
    for part in answer.stream():
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            load.note(line.decode())
