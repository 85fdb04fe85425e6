"""A service in a cluster that answers only who has a token, and whose requests are traced."""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.request
from base64 import b64encode
from typing import Any

import pytest
from kubernetes import client
from tests.collector import collecting
from tests.fixtures_cluster import TestCluster
from tests.kubernetes.conftest import objects
from tests.model_images import MODEL, ModelImages
from tests.processes import wait_until

from modelyard.deployment import Tracing
from modelyard.deployment.kubernetes import KubernetesTarget
from modelyard.errors import DeploymentFailed

pytestmark = pytest.mark.slow

SECRET = "clients"
FIRST, SECOND = secrets.token_urlsafe(), secrets.token_urlsafe()


def give(cluster: TestCluster, namespace: str, *tokens: str) -> None:
    """Have the Secret hold these tokens, made or changed."""
    data = {"tokens": b64encode("\n".join(tokens).encode()).decode()}
    core = client.CoreV1Api(cluster.api)
    if core.list_namespaced_secret(namespace, field_selector=f"metadata.name={SECRET}").items:
        core.patch_namespaced_secret(SECRET, namespace, {"data": data})
    else:
        core.create_namespaced_secret(namespace, {"metadata": {"name": SECRET}, "data": data})


def ask(cluster: TestCluster, namespace: str, token: str) -> int:
    """Ask the Service for a prediction at its address in the cluster, which its node reaches too."""
    host = client.CoreV1Api(cluster.api).read_namespaced_service(MODEL, namespace).spec.cluster_ip
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(f"http://{host}/predict", json.dumps({"rows": [{"x": 2}]}).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            status: int = answer.status
    except urllib.error.HTTPError as error:
        return error.code
    return status


def test_clients_need_a_token_of_the_secret_and_another_one_once_it_has_changed(
    cluster: TestCluster, namespace: str, target: KubernetesTarget, model_images: ModelImages
) -> None:
    with pytest.raises(DeploymentFailed, match=f'secret "{SECRET}" not found'):
        target.deploy(model_images.spec(namespace, 1, tokens=SECRET, ready_timeout=10.0), print)

    give(cluster, namespace, FIRST)
    target.deploy(model_images.spec(namespace, 2, tokens=SECRET), print)
    assert [ask(cluster, namespace, token) for token in (FIRST, SECOND, "")] == [200, 401, 401]

    give(cluster, namespace, SECOND)
    wait_until(lambda: ask(cluster, namespace, SECOND) == 200, "the changed Secret in the pod", 180)
    assert ask(cluster, namespace, FIRST) == 401


def test_a_version_that_cannot_answer_its_golden_rows_does_not_go_live_where_nobody_can_ask_it(
    cluster: TestCluster, namespace: str, target: KubernetesTarget, model_images: ModelImages
) -> None:
    give(cluster, namespace, FIRST)
    broken = "return None"
    with pytest.raises(DeploymentFailed, match="golden rows"):
        target.deploy(model_images.spec(namespace, 1, tokens=SECRET, as_it_loads=broken), print)
    assert target.current(MODEL, namespace) is None


def test_requests_are_traced_to_the_collector_and_the_pods_reach_nobody_else(
    cluster: TestCluster, namespace: str, target: KubernetesTarget, model_images: ModelImages
) -> None:
    with collecting(cluster.node_ip) as collector:
        tracing = Tracing(f"http://{cluster.node_ip}:{collector.server_port}")
        target.deploy(model_images.spec(namespace, 1, tracing=tracing), print)
        assert ask(cluster, namespace, "") == 200
        wait_until(lambda: collector.spans, "a span", 30)
    resource: dict[str, Any] = json.loads(collector.sent[0][2])["resourceSpans"][0]["resource"]
    facts = {one["key"]: one["value"].get("stringValue") for one in resource["attributes"]}
    assert facts["service.name"] == MODEL
    assert facts["service.version"] == "1"
    assert facts["deployment.environment.name"] == namespace

    (policy,) = objects(cluster, namespace)["NetworkPolicy"]
    (rule,) = policy.spec.egress
    assert rule.to[0].ip_block.cidr == f"{cluster.node_ip}/32"
    assert [port.port for port in rule.ports] == [collector.server_port]
