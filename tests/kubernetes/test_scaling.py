"""What comes and goes with model.yaml: the autoscaler and the number of replicas it has in hand; the Ingress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kubernetes import client
from tests.fixtures_cluster import TestCluster
from tests.kubernetes.cluster_load import cluster_load
from tests.model_images import MODEL, ModelImages
from tests.processes import wait_until

from modelyard.deployment import Autoscaling, Ingress
from modelyard.deployment.kubernetes import KubernetesTarget
from modelyard.errors import DeploymentFailed

pytestmark = pytest.mark.slow

SCALED: dict[str, Any] = {"replicas": 2, "cpu": "50m", "autoscaling": Autoscaling(max_replicas=4, cpu=50)}


@pytest.fixture
def replicas(cluster: TestCluster, namespace: str) -> Callable[[], int]:
    apps = client.AppsV1Api(cluster.api)
    return lambda: int(apps.read_namespaced_deployment(MODEL, namespace).spec.replicas)


def autoscalers(cluster: TestCluster, namespace: str) -> list[Any]:
    return list(client.AutoscalingV2Api(cluster.api).list_namespaced_horizontal_pod_autoscaler(namespace).items)


def ingresses(cluster: TestCluster, namespace: str) -> list[Any]:
    return list(client.NetworkingV1Api(cluster.api).list_namespaced_ingress(namespace).items)


def scale(cluster: TestCluster, namespace: str, number: int) -> None:
    """Set the number of replicas as an autoscaler does."""
    scale = {"spec": {"replicas": number}}
    client.AppsV1Api(cluster.api).patch_namespaced_deployment_scale(MODEL, namespace, scale)


def test_the_number_of_replicas_is_the_autoscalers_once_it_is_asked_for(
    cluster: TestCluster,
    namespace: str,
    target: KubernetesTarget,
    model_images: ModelImages,
    replicas: Callable[[], int],
) -> None:
    target.deploy(model_images.spec(namespace, 1, replicas=1, cpu="50m"), print)
    assert not autoscalers(cluster, namespace)

    target.deploy(model_images.spec(namespace, 2, **SCALED), print)

    (autoscaler,) = autoscalers(cluster, namespace)
    assert (autoscaler.spec.min_replicas, autoscaler.spec.max_replicas) == (2, 4)
    assert autoscaler.spec.metrics[0].resource.target.average_utilization == 50
    assert autoscaler.metadata.owner_references[0].kind == "Deployment"
    assert autoscaler.metadata.labels["app.kubernetes.io/managed-by"] == "modelyard"
    assert autoscaler.metadata.annotations["modelyard.io/version"] == "2"
    assert replicas() == 2

    scale(cluster, namespace, 3)
    target.deploy(model_images.spec(namespace, 3, **SCALED), print)
    assert replicas() == 3, "a roll-out has taken back what the autoscaler had decided"

    target.deploy(model_images.spec(namespace, 4, replicas=2, cpu="50m"), print)
    assert not autoscalers(cluster, namespace)
    assert replicas() == 2

    target.deploy(model_images.spec(namespace, 5, **SCALED), print)
    assert replicas() == 2, "the same number is the autoscaler's all the same"
    scale(cluster, namespace, 4)
    target.deploy(model_images.spec(namespace, 5, **SCALED), print)
    assert replicas() == 4


def test_a_first_version_begins_with_the_fewest_replicas_and_going_back_brings_the_autoscaler_back(
    cluster: TestCluster,
    namespace: str,
    target: KubernetesTarget,
    model_images: ModelImages,
    replicas: Callable[[], int],
) -> None:
    target.deploy(model_images.spec(namespace, 1, **SCALED), print)
    assert replicas() == 2
    scale(cluster, namespace, 3)

    broken = model_images.spec(namespace, 2, as_it_loads="sys.exit('no licence')", replicas=1)
    with pytest.raises(DeploymentFailed, match="version 1 still serves"):
        target.deploy(broken, print)

    assert len(autoscalers(cluster, namespace)) == 1
    assert replicas() in (2, 3)


def test_a_busy_model_gets_more_replicas_and_a_roll_out_leaves_them(
    cluster: TestCluster,
    namespace: str,
    target: KubernetesTarget,
    model_images: ModelImages,
    replicas: Callable[[], int],
) -> None:
    groups = {group.name for group in client.ApisApi(cluster.api).get_api_versions().groups}
    if "metrics.k8s.io" not in groups:
        pytest.skip("the cluster measures no load")
    target.deploy(model_images.spec(namespace, 1, **SCALED), print)
    with cluster_load(cluster, namespace) as load:
        wait_until(lambda: replicas() > 2, f"more replicas: {autoscalers(cluster, namespace)[0].status}", 240)
        target.deploy(model_images.spec(namespace, 2, **SCALED), print)
        assert replicas() > 2
    assert not load.failures


def test_an_ingress_comes_and_goes_and_is_the_address_that_people_are_told(
    cluster: TestCluster, namespace: str, target: KubernetesTarget, model_images: ModelImages
) -> None:
    ingress = Ingress(
        host="times.example.com",
        path="/times",
        class_name="nginx",
        tls_secret="times-tls",
        annotations={"nginx.ingress.kubernetes.io/rewrite-target": "/", "modelyard.io/version": "mine"},
    )

    address = target.deploy(model_images.spec(namespace, 1, ingress=ingress), print)

    assert address == "https://times.example.com/times"
    live = target.current(MODEL, namespace)
    assert live is not None
    assert live.address == address
    (found,) = ingresses(cluster, namespace)
    assert found.spec.ingress_class_name == "nginx"
    assert (found.spec.tls[0].hosts, found.spec.tls[0].secret_name) == ([ingress.host], "times-tls")
    (rule,) = found.spec.rules
    assert rule.host == ingress.host
    assert rule.http.paths[0].path == "/times"
    assert rule.http.paths[0].backend.service.name == MODEL
    assert found.metadata.owner_references[0].kind == "Deployment"
    assert found.metadata.annotations["nginx.ingress.kubernetes.io/rewrite-target"] == "/"
    assert found.metadata.annotations["modelyard.io/version"] == "1", "the version's facts are ours to tell"

    plain = Ingress(host="times.example.com")
    assert target.deploy(model_images.spec(namespace, 2, ingress=plain), print) == "http://times.example.com"
    (found,) = ingresses(cluster, namespace)
    assert "nginx.ingress.kubernetes.io/rewrite-target" not in found.metadata.annotations
    assert found.spec.tls is None

    assert target.deploy(model_images.spec(namespace, 3), print) == f"http://{MODEL}.{namespace}.svc"
    assert not ingresses(cluster, namespace)


def test_a_service_of_somebody_else_is_left_alone(
    cluster: TestCluster, namespace: str, target: KubernetesTarget, model_images: ModelImages
) -> None:
    core = client.CoreV1Api(cluster.api)
    mine = {"metadata": {"name": MODEL}, "spec": {"selector": {"app": "mine"}, "ports": [{"port": 80}]}}
    core.create_namespaced_service(namespace, mine)

    with pytest.raises(DeploymentFailed, match="another Service"):
        target.deploy(model_images.spec(namespace, 1), print)

    assert core.read_namespaced_service(MODEL, namespace).spec.selector == {"app": "mine"}
    assert not client.AppsV1Api(cluster.api).list_namespaced_deployment(namespace).items
