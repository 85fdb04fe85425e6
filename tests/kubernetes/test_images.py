"""Images that our own builder has made, pulled and run by a real cluster's container runtime."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from tests.fixtures_cluster import TestCluster
from tests.python_base import python_base
from tests.triple import build, build_on

from modelyard.images import Image, ImageStore, Index, open_images
from modelyard.images.base import pull_base, pull_image
from modelyard.images.image import empty
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import Entry
from modelyard.images.model_image import PORT
from modelyard.store import StoreAddress

_SECONDS = 120  # for an image of 200 MB to be pulled and started, on a busy machine

_WRITABLE = {"home": "/modelyard", "tmp": "/tmp"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def base(cluster: TestCluster, home: Path) -> str:
    return python_base(cluster.registry, home)


def start(cluster: TestCluster, namespace: str, image: str, **container: Any) -> client.CoreV1Api:
    """Start the pod ``pod`` with nothing it could do without: no root, two folders to write to, no capability."""
    pod = {
        "metadata": {"name": "pod"},
        "spec": {
            "automountServiceAccountToken": False,
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "env": [{"name": name, "value": "/modelyard"} for name in ("HOME", "MODELYARD_HOME")],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": name, "mountPath": path} for name, path in _WRITABLE.items()],
                    **container,
                }
            ],
            "volumes": [{"name": name, "emptyDir": {}} for name in _WRITABLE],
        },
    }
    core = client.CoreV1Api(cluster.api)
    core.create_namespaced_pod(namespace, pod)
    return core


def wait(core: client.CoreV1Api, namespace: str, reached: Any) -> Any:
    """Return the pod once it is as it should be."""
    deadline = time.monotonic() + _SECONDS
    while not reached((pod := core.read_namespaced_pod("pod", namespace)).status):
        assert time.monotonic() < deadline, pod.status
        time.sleep(0.3)
    return pod


def run(cluster: TestCluster, namespace: str, image: str, **container: Any) -> str:
    """Run a pod to its good end and return what it has printed."""
    core = start(cluster, namespace, image, **container)
    pod = wait(core, namespace, lambda status: status.phase in ("Succeeded", "Failed"))
    said: str = core.read_namespaced_pod_log("pod", namespace, _preload_content=False).data.decode()
    core.delete_namespaced_pod("pod", namespace, grace_period_seconds=0)
    assert pod.status.phase == "Succeeded", said
    return said


def test_the_runner_image_runs_with_no_rights(
    cluster: TestCluster, namespace: str, base: str, building_runner: dict[str, str]
) -> None:
    name = f"{cluster.registry}/test-{uuid.uuid4().hex[:12]}/runner:1"
    command = [sys.executable, "-m", "modelyard", "image", "runner", "--push", name, "--base", base]
    image = subprocess.check_output(command, env=building_runner, text=True).strip()

    assert "Take a machine-learning model from experiment" in run(cluster, namespace, image, args=["--help"])
    # It finds its templates, Git and packages, and writes to those folders alone.
    script = """
        set -e
        USER=tester modelyard new /modelyard/own-model
        modelyard check /modelyard/own-model
        python -c 'import boto3, great_expectations, papermill, pymongo, requests, sacred; from uv import find_uv_bin
        print("uv is", find_uv_bin())'
        grep CapEff /proc/self/status
    """
    said = run(cluster, namespace, image, command=["/bin/sh", "-c", script.replace("\n        ", "\n")])
    assert "own-model is sound." in said
    assert "uv is /opt/modelyard/runner/bin/uv" in said
    assert "CapEff:\t0000000000000000" in said


def for_both(base: str, images: ImageStore, address: StoreAddress, home: Path) -> str:
    """Push a base image for this machine and for another one, on which nothing could run; return its name."""
    ours = pull_image(base, address, home)
    other = next(one for one in ("arm64", "amd64") if f"linux/{one}" != ours.platform)
    python = Interpreter.of_this_machine().python
    theirs = images.pack([Entry(f"usr/local/bin/python{python}", b"not for this machine", executable=True)])
    images.push("base-of-both", Index.of([empty(other).append([theirs], {}, {}), ours]), "slim")
    return f"{address.registry}/base-of-both:slim"


@pytest.mark.parametrize("platforms", ["its own", "two"])
def test_a_model_image_answers_from_a_pod(
    cluster: TestCluster, namespace: str, base: str, home: Path, tmp_path: Path, platforms: str
) -> None:
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    address = StoreAddress("mongodb://unused", "file:///unused", f"{cluster.registry}/{prefix}", registry_insecure=True)
    images = open_images(address, home)
    if platforms == "two":
        both = for_both(base, images, address, home)
        image: Image | Index = build_on(images, both, address, tmp_path, "linux/amd64", "linux/arm64")
        assert len(image.images) == 2
    else:
        image, _ = build(images, tmp_path, base=pull_base(base, images, address, home))
    digest = images.push("triple", image)

    ready = {"httpGet": {"path": "/readyz", "port": PORT}, "periodSeconds": 1}
    core = start(cluster, namespace, images.reference("triple", digest), readinessProbe=ready)
    wait(core, namespace, lambda status: any(one.ready for one in status.container_statuses or ()))

    path = f"/api/v1/namespaces/{namespace}/pods/pod:{PORT}/proxy/predict"
    answer, status, _ = cluster.api.call_api(
        path,
        "POST",
        header_params={"Content-Type": "application/json"},
        body={"rows": [{"x": 2}, {"x": 5}]},
        auth_settings=["BearerToken"],
        response_types_map={200: "object"},
    )
    assert status == 200
    assert answer["predictions"] == [{"prediction": 6}, {"prediction": 15}]
