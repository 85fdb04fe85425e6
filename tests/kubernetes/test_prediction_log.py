"""The prediction log of a pod: the side-car alone has the credential, and the pod's end loses nothing."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from kubernetes import client
from kubernetes.stream import stream
from tests.conftest import S3
from tests.fixtures_cluster import TestCluster
from tests.forwarding import forwarded
from tests.kubernetes.conftest import objects
from tests.model_images import MODEL, ModelImages

from modelyard.deployment import PredictionLog
from modelyard.deployment.kubernetes import KubernetesTarget
from modelyard.deployment.kubernetes.side_car import secret_name
from modelyard.errors import DeploymentFailed
from modelyard.monitoring.destination import ACCESS_KEY, SECRET_KEY, Destination, prefix_of
from modelyard.monitoring.segments import Segments
from modelyard.store.artifacts import open_backend

pytestmark = pytest.mark.slow

_CREDENTIAL = "/run/modelyard/shipper"


@pytest.fixture
def log(cluster: TestCluster, namespace: str, s3: S3, runner_image: str) -> Iterator[PredictionLog]:
    """A log into a bucket that pods reach at this machine's address."""
    parts = urlsplit(s3.endpoint_url)
    with forwarded(cluster.node_ip, (str(parts.hostname), int(parts.port or 0))) as there:
        destination = Destination(f"s3://{s3.bucket}/models", f"http://{there}", s3.region)
        yield PredictionLog(
            sample=1.0,
            hide=(),
            most_bytes=2**24,
            seconds=3600,
            prefix=prefix_of(MODEL, namespace),
            destination=destination.to_environment(),
            needs_credential=True,
            image=runner_image,
        )


@pytest.fixture
def credential(cluster: TestCluster, namespace: str, s3: S3) -> None:
    data = {ACCESS_KEY: s3.access_key, SECRET_KEY: s3.secret_key}
    secret = {
        "metadata": {"name": secret_name(MODEL)},
        "data": {name: b64encode(value.encode()).decode() for name, value in data.items()},
    }
    client.CoreV1Api(cluster.api).create_namespaced_secret(namespace, secret)


def ask(cluster: TestCluster, namespace: str, path: str, body: Any) -> Any:
    """Ask the service by way of the API server, as any client does."""
    answer = cluster.api.call_api(
        f"/api/v1/namespaces/{namespace}/services/http:{MODEL}:http/proxy{path}",
        "POST",
        body=body,
        header_params={"Content-Type": "application/json", "modelyard-connection": "close"},
        auth_settings=["BearerToken"],
        _preload_content=False,
        _return_http_data_only=True,
    )
    return json.loads(answer.data)


def logged(namespace: str, s3: S3) -> list[tuple[int, str]]:
    """Return input and version of each prediction that has come to the object store."""

    def say(text: str) -> None:
        raise AssertionError(text)

    now = datetime.now(UTC)
    segments = Segments(open_backend(s3.address("models")), MODEL, namespace, say)
    found = segments.predictions(now - timedelta(hours=1), now + timedelta(hours=1))
    return sorted((one.inputs["x"][0], one.version) for one in found)


def run_in(cluster: TestCluster, namespace: str, container: str, code: str) -> str:
    """Run Python in a container of the service's pod."""
    (pod,) = [one for one in objects(cluster, namespace)["Pod"] if one.metadata.deletion_timestamp is None]
    folder = "server" if container == "server" else "runner"
    # `stream` changes the client that it is given.
    core = client.CoreV1Api(client.ApiClient(cluster.api.configuration))
    said: str = stream(
        core.connect_get_namespaced_pod_exec,
        pod.metadata.name,
        namespace,
        container=container,
        command=[f"/opt/modelyard/{folder}/bin/python", "-c", code],
        stdout=True,
        stderr=True,
    )
    return said


@pytest.mark.usefixtures("credential")
def test_a_replaced_pod_leaves_nothing_behind_and_its_server_never_had_the_credential(
    cluster: TestCluster,
    namespace: str,
    target: KubernetesTarget,
    model_images: ModelImages,
    log: PredictionLog,
    s3: S3,
) -> None:
    target.deploy(model_images.spec(namespace, 1, log=log), print)
    for number in range(20):
        ask(cluster, namespace, "/predict", [{"x": number}])
    assert ask(cluster, namespace, "/feedback", {"entity": "x", "truth": 4}) == {"accepted": 1}
    assert logged(namespace, s3) == [], "the segment is open for an hour"

    look = f"import os, pathlib; print(pathlib.Path('{_CREDENTIAL}').exists(), sorted(os.environ))"
    told = run_in(cluster, namespace, "server", look)
    assert told.startswith("False"), told
    assert "S3" not in told
    assert "ARTIFACTS" not in told
    assert run_in(cluster, namespace, "shipper", look).startswith("True")
    (pod,) = objects(cluster, namespace)["Pod"]
    assert s3.secret_key not in str(pod)

    target.deploy(model_images.spec(namespace, 2, log=log), print)
    assert logged(namespace, s3) == [(number, "1") for number in range(20)], "the old pod has gone"
    ask(cluster, namespace, "/predict", [{"x": 20}])
    target.remove(MODEL, namespace)
    deadline = time.monotonic() + 60
    while len(logged(namespace, s3)) < 21 and time.monotonic() < deadline:
        time.sleep(1)
    assert logged(namespace, s3)[-1] == (20, "2")


@pytest.mark.usefixtures("credential")
def test_a_pod_with_a_shipper_reaches_the_object_store_and_no_other_port(
    cluster: TestCluster, namespace: str, target: KubernetesTarget, model_images: ModelImages, log: PredictionLog
) -> None:
    target.deploy(model_images.spec(namespace, 1, log=log), print)
    (policy,) = objects(cluster, namespace)["NetworkPolicy"]
    (rule,) = policy.spec.egress
    endpoint = urlsplit(log.destination["MODELYARD_S3_ENDPOINT_URL"])
    assert rule.to[0].ip_block.cidr == f"{endpoint.hostname}/32"
    assert [port.port for port in rule.ports] == [endpoint.port]


def test_without_the_secret_the_version_does_not_go_live_and_the_secret_is_named(
    cluster: TestCluster, namespace: str, target: KubernetesTarget, model_images: ModelImages, log: PredictionLog
) -> None:
    with pytest.raises(DeploymentFailed) as refused:
        target.deploy(model_images.spec(namespace, 1, log=log), print)
    assert secret_name(MODEL) in refused.value.message
    assert target.current(MODEL, namespace) is None
