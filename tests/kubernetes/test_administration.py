"""What docker/kubernetes gives each account, and takes from everybody else, in a real cluster."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import pytest
from tests.fixtures_cluster import TestCluster
from tests.kubernetes.administration import apply, apply_rights, kubeconfig, manifests
from tests.processes import wait_until

from modelyard.execution import Command
from modelyard.execution.kubernetes import Secrets, step_pod

RUN = "0123456789abcdef" * 4


@pytest.fixture
def airflow(cluster: TestCluster, namespace: str) -> Iterator[str]:
    """The namespace of Airflow's accounts, with their rights in ``namespace``."""
    from kubernetes import client

    core = client.CoreV1Api(cluster.api)
    name = f"{namespace}-airflow"
    core.create_namespace({"metadata": {"name": name}})
    apply_rights(cluster, namespace, name)
    yield name
    core.delete_namespace(name)


def pod(namespace: str, resources: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the pod of a step, as the operator makes it, in ``namespace``; one that says what it needs, or nothing."""
    manifest = step_pod(
        Command(step="prepare", pipeline_run=RUN),
        runner_image="unused",
        secrets=Secrets("store"),
        images_beside={},
        deadline_seconds=60,
    )
    manifest["metadata"]["namespace"] = namespace
    if resources:
        manifest["spec"]["containers"][0]["resources"] = {"requests": resources, "limits": resources}
    return manifest


def rights(api: Any, namespace: str) -> set[tuple[str, str]]:
    """Return verb and resource of all that this account may do in ``namespace`` and not anybody may."""
    from kubernetes import client

    review = {"spec": {"namespace": namespace}}
    rules = client.AuthorizationV1Api(api).create_self_subject_rules_review(review).status.resource_rules
    found = {(verb, what) for rule in rules for what in rule.resources or () for verb in rule.verbs}
    return {(verb, what) for verb, what in found if not what.startswith(("selfsubject", "clustertrustbundles"))}


@pytest.mark.parametrize(
    ("account", "name"),
    [
        ("airflow-worker", "modelyard-worker"),
        ("airflow-scheduler", "modelyard-worker"),
        ("airflow-triggerer", "modelyard-triggerer"),
    ],
)
def test_airflows_accounts_may_do_what_their_role_says_and_nothing_in_their_own_namespace(
    cluster: TestCluster, namespace: str, airflow: str, account: str, name: str, tmp_path
):
    from kubernetes import config

    configuration = cluster.api.configuration
    file = kubeconfig(cluster, tmp_path / "kubeconfig", configuration.host, account, airflow)
    api = config.new_client_from_config(str(file))
    objects = manifests("modelyard.yaml", {"modelyard": "", "airflow": ""})
    (role,) = (one for one in objects if one["kind"] == "Role" and one["metadata"]["name"] == name)
    assert rights(api, namespace) == {
        (verb, what) for rule in role["rules"] for what in rule["resources"] for verb in rule["verbs"]
    }
    assert rights(api, airflow) == set()
    assert rights(api, "default") == set()


def test_an_airflow_elsewhere_is_let_in_as_the_worker_by_the_token_of_a_secret(
    cluster: TestCluster, namespace: str, airflow: str
):
    from kubernetes import client

    apply(cluster, manifests("airflow-elsewhere.yaml", {"airflow": airflow}), airflow)
    core = client.CoreV1Api(cluster.api)

    def given() -> dict[str, str]:
        return core.read_namespaced_secret("airflow-worker-token", airflow).data or {}

    wait_until(lambda: {"token", "ca.crt"} <= given().keys(), "a token in the Secret")
    configuration = client.Configuration()
    configuration.host, configuration.ssl_ca_cert = (
        cluster.api.configuration.host,
        cluster.api.configuration.ssl_ca_cert,
    )
    configuration.api_key["authorization"] = f"Bearer {b64decode(given()['token']).decode()}"
    assert ("create", "pods") in rights(client.ApiClient(configuration), namespace)


def test_a_step_that_says_nothing_gets_the_figures_of_the_quotas(cluster: TestCluster, namespace: str, airflow: str):
    from kubernetes import client

    apply(cluster, manifests("quotas.yaml", {"modelyard": namespace}), namespace)
    core = client.CoreV1Api(cluster.api)
    made = core.create_namespaced_pod(namespace, pod(namespace), dry_run="All").spec.containers[0].resources
    assert made.requests == {"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "2Gi"}
    assert made.limits == {"memory": "4Gi", "ephemeral-storage": "20Gi"}


@pytest.mark.parametrize(
    ("resources", "reason"),
    [
        ({"memory": "64Gi"}, "maximum memory usage per Container is 32Gi"),
        ({"nvidia.com/gpu": "1"}, "exceeded quota: modelyard, requested: requests.nvidia.com/gpu=1"),
        ({"cpu": "17"}, "exceeded quota: modelyard, requested: requests.cpu=17"),
    ],
)
def test_a_step_that_asks_for_too_much_is_refused(
    cluster: TestCluster, namespace: str, airflow: str, resources: dict[str, str], reason: str
):
    from kubernetes import client

    core = client.CoreV1Api(cluster.api)
    apply(cluster, manifests("quotas.yaml", {"modelyard": namespace}), namespace)
    wait_until(lambda: all(one.status.used for one in core.list_namespaced_resource_quota(namespace).items), "a count")
    with pytest.raises(client.ApiException) as refused:
        core.create_namespaced_pod(namespace, pod(namespace, resources), dry_run="All")
    assert refused.value.status == 403
    assert reason in refused.value.body


def test_the_network_policy_is_of_every_step_and_of_nothing_else(cluster: TestCluster, namespace: str):
    (policy,) = manifests("network.yaml", {"modelyard": namespace})
    apply(cluster, [policy], namespace)
    selected = policy["spec"]["podSelector"]["matchLabels"].items()
    assert selected
    assert selected <= pod(namespace)["metadata"]["labels"].items()
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert policy["spec"]["ingress"] == []
