"""``python -m tests.kubernetes.deploying``: one deployment in a process of its own, killed at a chosen moment.

It reads a line of JSON: the ``spec``, the ``image`` as the cluster pulls it, and ``dies_at``, the number of the
question to the API server before which it is killed. It prints "live" or "superseded".
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from kubernetes import client, config

from modelyard.deployment import ServiceSpec
from modelyard.deployment.kubernetes import KubernetesTarget
from modelyard.errors import Superseded

ROOT = Path(__file__).parents[2]


class Dying(client.ApiClient):  # type: ignore[misc]
    """A client that is killed, as from outside, before it asks for the ``dies_at``-th time."""

    def __init__(self, dies_at: int | None) -> None:
        super().__init__()
        self._asked = count(1)
        self._dies_at = dies_at

    def call_api(self, *arguments: Any, **options: Any) -> Any:
        """Ask, or die."""
        if next(self._asked) == self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().call_api(*arguments, **options)


class Deploying:
    """A deployment that runs beside the test."""

    def __init__(self, spec: ServiceSpec, image: str, dies_at: int | None = None) -> None:
        command = [sys.executable, "-m", "tests.kubernetes.deploying"]
        given = {"spec": asdict(spec), "image": image, "dies_at": dies_at}
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(given) + "\n")
        self._process.stdin.flush()

    def cancel(self) -> None:
        """Tell it to end, as Airflow does."""
        self._process.terminate()

    def outcome(self) -> str:
        """Wait for its end and return "live", "superseded", "killed" or "cancelled"."""
        said, errors = self._process.communicate(timeout=180)
        if self._process.returncode == -signal.SIGKILL:
            return "killed"
        if self._process.returncode == 143:
            return "cancelled"
        assert self._process.returncode == 0, errors
        return said.strip().splitlines()[-1]


def main() -> None:
    """Deploy."""
    given = json.loads(sys.stdin.readline())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as a step does
    config.load_kube_config()
    target = KubernetesTarget(Dying(given["dies_at"]), lambda *_: given["image"], None)
    try:
        target.deploy(ServiceSpec(**given["spec"]), print)
    except Superseded:
        print("superseded")
    else:
        print("live")


if __name__ == "__main__":
    main()
