"""The NetworkPolicy of a model server, beside what a running one was asked for and what it asked for itself."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes import client
from kubernetes.stream import stream
from tests.fixtures_cluster import TestCluster
from tests.kubernetes.cluster_load import cluster_load
from tests.kubernetes.conftest import objects
from tests.model_images import ModelImages

from modelyard.deployment.kubernetes import KubernetesTarget

pytestmark = pytest.mark.slow

# The kernel's own account of a pod's network, from the pod's first moment to now.
_ACCOUNT = """
import json, pathlib
net = pathlib.Path("/proc/net")
counted = {}
lines = (net / "snmp").read_text().splitlines()
for names, values in zip(lines[::2], lines[1::2]):
    protocol, *names = names.split()
    counted |= {protocol + name: int(value) for name, value in zip(names, values.split()[1:])}
udp6 = dict(line.split() for line in (net / "snmp6").read_text().splitlines() if line.startswith("Udp6"))
ports = set()
for table in ("tcp", "tcp6"):
    for line in (net / table).read_text().splitlines()[1:]:
        ports.add(int(line.split()[1].rsplit(":", 1)[1], 16))
print(json.dumps({
    "came": counted["Tcp:PassiveOpens"],
    "went": counted["Tcp:ActiveOpens"],
    "sent": counted["Udp:OutDatagrams"] + int(udp6["Udp6OutDatagrams"]),
    "ports": sorted(ports),
}))
"""


def account(cluster: TestCluster, namespace: str, pod: str) -> dict[str, Any]:
    """Return how many connections came and went, and at which ports of the pod."""
    import json

    # `stream` changes the client that it is given.
    core = client.CoreV1Api(client.ApiClient(cluster.api.configuration))
    command = ["/opt/modelyard/server/bin/python", "-c", _ACCOUNT]
    said = stream(core.connect_get_namespaced_pod_exec, pod, namespace, command=command, stdout=True, stderr=True)
    try:
        told: dict[str, Any] = json.loads(said.replace("'", '"'))
    except ValueError:
        pytest.fail(said)
    return told


def test_the_policy_admits_just_what_a_server_was_asked_and_nothing_that_it_asks(
    cluster: TestCluster, namespace: str, target: KubernetesTarget, model_images: ModelImages
) -> None:
    target.deploy(model_images.spec(namespace, 1), print)
    with cluster_load(cluster, namespace) as load:
        load.wait_for(1000)
        core = client.CoreV1Api(cluster.api)
        clients = core.read_namespaced_pod("load", namespace)
        (pod,) = (pod for pod in objects(cluster, namespace)["Pod"] if pod.metadata.name != "load")
        seen = account(cluster, namespace, pod.metadata.name)
    assert not load.failures

    (policy,) = objects(cluster, namespace)["NetworkPolicy"]
    selected = policy.spec.pod_selector.match_labels
    assert selected.items() <= pod.metadata.labels.items()
    assert not selected.items() <= (clients.metadata.labels or {}).items()
    assert set(policy.spec.policy_types) == {"Ingress", "Egress"}
    (admitted,) = policy.spec.ingress
    assert admitted._from is None, "who may ask is for others to say: an ingress, a monitoring, another team"
    assert seen["came"] > 100
    assert [(port.protocol, port.port) for port in admitted.ports] == [("TCP", port) for port in seen["ports"]]
    assert (seen["went"], seen["sent"]) == (0, 0)
    assert not policy.spec.egress
