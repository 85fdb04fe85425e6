from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures_cluster import TestCluster
from tests.kubernetes.cluster_load import cluster_load
from tests.kubernetes.conftest import deployer, objects
from tests.model_images import MODEL, ModelImages
from tests.processes import wait_until

from modelyard.background import free_port
from modelyard.deployment import open_target
from modelyard.deployment.kubernetes import KubernetesTarget, rollout
from modelyard.deployment.kubernetes import cluster as cluster_module
from modelyard.errors import DeploymentFailed, RequestError, Superseded, Unavailable
from modelyard.images.layout import Layout

pytestmark = pytest.mark.slow


def test_the_first_version_answers_and_goes_as_a_whole(
    cluster: TestCluster, namespace: str, target: KubernetesTarget, model_images: ModelImages
) -> None:
    assert target.current(MODEL, namespace) is None
    spec = model_images.spec(namespace, 1, replicas=2, cpu="50m", memory="256Mi")

    address = target.deploy(spec, print)

    assert address == f"http://{MODEL}.{namespace}.svc"
    live = target.current(MODEL, namespace)
    assert live is not None
    assert live.running
    assert (live.version, live.run_id, live.image_digest) == (1, 101, spec.image_digest)
    found = objects(cluster, namespace)
    for kind, items in found.items():
        assert len(items) == (2 if kind == "Pod" else 1), kind
        for item in items:
            assert item.metadata.labels["app.kubernetes.io/managed-by"] == "modelyard"
            assert item.metadata.annotations["modelyard.io/image-digest"] == spec.image_digest
    assert found["Pod"][0].spec.automount_service_account_token is False
    uids = {pod.metadata.uid for pod in found["Pod"]}

    target.deploy(spec, print)

    assert {pod.metadata.uid for pod in objects(cluster, namespace)["Pod"]} == uids, "the same again changed something"

    target.remove(MODEL, namespace)
    target.remove(MODEL, namespace)
    assert target.current(MODEL, namespace) is None


def test_a_second_version_replaces_the_first_without_a_failed_request(
    cluster: TestCluster, namespace: str, target: KubernetesTarget, model_images: ModelImages
) -> None:
    second = model_images.spec(namespace, 2)
    target.deploy(model_images.spec(namespace, 1), print)
    with cluster_load(cluster, namespace) as clients:
        clients.wait_for(1000)
        target.deploy(second, print)
        time.sleep(1)  # in which the last lines of the clients come
        of_the_first = clients.answers[1]
        clients.wait_for(1000)
    assert not clients.failures
    assert clients.answers[1] == of_the_first


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"as_it_loads": "time.sleep(3600)", "ready_timeout": 6.0}, "Unhealthy: Startup probe failed"),
        ({"as_it_loads": "raise OSError('disk on fire')"}, "disk on fire"),
        ({"as_it_loads": "return None"}, "cannot answer its own golden rows"),
        ({"image_digest": f"sha256:{'0' * 64}"}, "cannot be pulled"),
        (
            {"smoke": {"inputs": [{"x": 2}], "outputs": {"prediction": [5]}}},
            "row 0, prediction: 4, at training it was 5",
        ),
        ({"memory": "900Ti"}, "Insufficient memory"),
    ],
    ids=["never ready", "crashes", "errs", "no image", "smoke test", "no node"],
)
def test_a_version_that_does_not_come_up_leaves_the_first_one_serving(
    cluster: TestCluster,
    namespace: str,
    target: KubernetesTarget,
    model_images: ModelImages,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    reason: str,
) -> None:
    monkeypatch.setattr(rollout, "_NODE", 2.0)
    broken = model_images.spec(namespace, 2, **changes)
    target.deploy(model_images.spec(namespace, 1), print)
    pods = {pod.metadata.uid for pod in objects(cluster, namespace)["Pod"]}
    with cluster_load(cluster, namespace) as clients:
        clients.wait_for(1000)
        with pytest.raises(DeploymentFailed, match="version 1 still serves") as caught:
            target.deploy(broken, print)
        clients.wait_for(1000)
    assert reason in caught.value.message
    assert not clients.failures
    live = target.current(MODEL, namespace)
    assert live is not None
    assert (live.version, live.running) == (1, True)
    if reason != "row 0, prediction: 4, at training it was 5":
        assert pods <= {pod.metadata.uid for pod in objects(cluster, namespace)["Pod"]}, "it was started again"


def test_a_first_version_that_does_not_come_up_leaves_nothing(
    cluster: TestCluster, namespace: str, target: KubernetesTarget, model_images: ModelImages
) -> None:
    broken = model_images.spec(namespace, 1, as_it_loads="sys.exit('no licence')")

    with pytest.raises(DeploymentFailed, match="nothing served before"):
        target.deploy(broken, print)

    assert target.current(MODEL, namespace) is None
    target.remove(MODEL, namespace)
    assert not any(objects(cluster, namespace)["Deployment"])


def test_an_older_generation_is_superseded(namespace: str, target: KubernetesTarget, model_images: ModelImages) -> None:
    target.deploy(model_images.spec(namespace, 2), print)
    with pytest.raises(Superseded):
        target.deploy(model_images.spec(namespace, 1), print)
    live = target.current(MODEL, namespace)
    assert live is not None
    assert live.version == 2


def test_of_two_at_once_the_newer_one_wins(namespace: str, target: KubernetesTarget, model_images: ModelImages) -> None:
    older = model_images.spec(namespace, 1, as_it_loads="time.sleep(5)")
    newer = model_images.spec(namespace, 2)
    outcomes: list[str] = []
    begun = threading.Event()

    def deploy_older() -> None:
        try:
            target.deploy(older, lambda _: begun.set())
        except Superseded:
            outcomes.append("superseded")

    thread = threading.Thread(target=deploy_older)
    thread.start()
    assert begun.wait(30)
    target.deploy(newer, print)
    thread.join(60)

    assert outcomes == ["superseded"]
    live = target.current(MODEL, namespace)
    assert live is not None
    assert live.version == 2


def test_an_account_without_the_rights_is_told_what_to_apply(
    cluster: TestCluster, namespace: str, model_images: ModelImages
) -> None:
    elsewhere = KubernetesTarget(deployer(cluster, namespace), model_images.images.reference, "default")
    with pytest.raises(DeploymentFailed, match=r"(?s)cannot get .*environment\.yaml") as caught:
        elsewhere.deploy(model_images.spec("production", 1), print)
    assert "deployments.apps" in caught.value.message


def test_a_deployment_of_somebody_else_is_left_alone(
    cluster: TestCluster, namespace: str, target: KubernetesTarget, model_images: ModelImages
) -> None:
    target.deploy(model_images.spec(namespace, 1), print)
    staging = KubernetesTarget(cluster.api, model_images.images.reference, namespace)

    assert staging.current(MODEL, "staging") is None
    with pytest.raises(DeploymentFailed, match="another Deployment"):
        staging.deploy(model_images.spec("staging", 2), print)
    with pytest.raises(DeploymentFailed, match="another Deployment"):
        staging.remove(MODEL, "staging")

    live = target.current(MODEL, namespace)
    assert live is not None
    assert live.version == 1


def test_a_cluster_that_is_away_is_worth_another_try(
    model_images: ModelImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kubernetes import client

    monkeypatch.setattr(cluster_module, "_AWAY_SECONDS", 0.5)
    settings = client.Configuration()
    settings.host = f"http://127.0.0.1:{free_port()}"
    target = KubernetesTarget(client.ApiClient(settings), model_images.images.reference, None)
    with pytest.raises(Unavailable, match="cannot be reached"):
        target.deploy(model_images.spec("production", 1), print)


def test_a_quota_that_lets_no_pod_in_is_the_reason(
    cluster: TestCluster, namespace: str, target: KubernetesTarget, model_images: ModelImages
) -> None:
    from kubernetes import client

    target.deploy(model_images.spec(namespace, 1), print)
    quota = {"metadata": {"name": "one"}, "spec": {"hard": {"pods": "1"}}}
    core = client.CoreV1Api(cluster.api)
    core.create_namespaced_resource_quota(namespace, quota)
    wait_until(lambda: core.read_namespaced_resource_quota("one", namespace).status.used, "a quota that counts", 30)
    with pytest.raises(DeploymentFailed, match=r"version 1 still serves.*lets no pod in.*quota: one"):
        target.deploy(model_images.spec(namespace, 2), print)


def test_a_target_is_opened_by_the_kubeconfig_and_needs_a_registry(
    namespace: str, model_images: ModelImages, tmp_path: Path
) -> None:
    opened = open_target("kubernetes", tmp_path, model_images.images, namespace)
    assert opened.current(MODEL, "production") is None
    opened.remove(MODEL, "production")
    with pytest.raises(RequestError, match="connection a registry"):
        open_target("kubernetes", tmp_path, Layout(tmp_path / "images"))


def test_a_right_that_is_lost_in_the_middle_leaves_the_first_version_serving(
    cluster: TestCluster, namespace: str, target: KubernetesTarget, model_images: ModelImages
) -> None:
    from kubernetes import client

    target.deploy(model_images.spec(namespace, 1), print)
    rbac = client.RbacAuthorizationV1Api(cluster.api)
    role = rbac.read_namespaced_role("modelyard-deployer", namespace)
    role.rules = [rule for rule in role.rules if rule.resources != ["pods"]]
    rbac.replace_namespaced_role("modelyard-deployer", namespace, role)

    with pytest.raises(DeploymentFailed, match=r"version 1 was put back, but cannot be watched .*cannot list.*pods"):
        target.deploy(model_images.spec(namespace, 2), print)

    (deployment,) = objects(cluster, namespace)["Deployment"]
    assert deployment.spec.template.metadata.labels["app.kubernetes.io/version"] == "1"
