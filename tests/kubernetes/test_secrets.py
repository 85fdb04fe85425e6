"""The Secrets that the operator applies before a step, by the API of a real cluster."""

from __future__ import annotations

import json
import os
from base64 import b64decode
from dataclasses import replace
from typing import Any

import pytest
from kubernetes import client
from tests.fixtures_cluster import TestCluster

from model_store.kubernetes import Cluster, KubernetesStepOperator
from model_store.projects import LockedProject
from model_store.run import PipelineStep
from modelyard.deployment import ClusterAccess
from modelyard.execution.kubernetes import Secrets
from modelyard.provider_info import connections
from modelyard.store import StoreAddress

ADDRESS = StoreAddress(
    mongo_uri="mongodb://ada:first@mongo.example.com:27017/?",
    artifacts="s3://models/artifacts",
    registry="registry.example.com/models",
    s3_access_key="key",
    s3_secret_key="secret",
    s3_region="eu-south-1",
    registry_username="robot",
    registry_password="pull-it",
)
GIT = LockedProject("wine", {}, [], {"git": "https://git.example.com/wine"}, "wine_git")


def connect(monkeypatch: pytest.MonkeyPatch, address: StoreAddress, **git: Any) -> None:
    for conn_id, connection in connections(address).items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", connection)
    monkeypatch.setenv("AIRFLOW_CONN_WINE_GIT", json.dumps({"conn_type": "git"} | git))
    kubernetes = {"conn_type": "kubernetes", "extra": {"kube_config_path": os.environ["KUBECONFIG"]}}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(kubernetes))


def secrets(
    namespace: str,
    address: StoreAddress,
    step: str = "prepare",
    access: ClusterAccess | None = None,
    **settings: Any,
) -> Secrets:
    """Return what the pod of a step would name, after the operator has seen to it."""
    operator = KubernetesStepOperator(
        task_id=step,
        pipeline_step=PipelineStep(step, lambda _: GIT, "model_store_default"),
        cluster=Cluster("kubernetes_default", namespace, "runner:1", 60, **settings),
    )
    return operator._secrets({}, address, access)


def there(cluster: TestCluster, namespace: str) -> dict[str, dict[str, str]]:
    """Return the content of each Secret in the namespace, by name."""
    found = client.CoreV1Api(cluster.api).list_namespaced_secret(namespace).items
    return {
        one.metadata.name: {key: b64decode(value).decode() for key, value in one.data.items()}
        for one in found
        if one.type != "kubernetes.io/service-account-token"
    }


def test_a_secret_a_connection_is_applied_and_applied_anew(
    cluster: TestCluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, ADDRESS, login="robot", password="token")
    made = secrets(namespace, ADDRESS)
    found = there(cluster, namespace)
    assert set(found) == {made.store, made.git, made.pull}
    assert found[made.store] == ADDRESS.to_environment()
    assert found[str(made.git)] == {"username": "robot", "password": "token"}
    assert "registry.example.com" in found[str(made.pull)][".dockerconfigjson"]
    assert secrets(namespace, ADDRESS, "train") == replace(made, git=None)

    changed = replace(ADDRESS, mongo_uri="mongodb://ada:second@mongo.example.com:27017/?", s3_region=None)
    connect(monkeypatch, changed, login="robot", password="another")
    assert secrets(namespace, changed) == made
    found = there(cluster, namespace)
    assert found[made.store] == changed.to_environment(), "what is no longer said is gone"
    assert found[str(made.git)]["password"] == "another"


def test_the_access_to_a_cluster_is_a_secret_of_its_own(
    cluster: TestCluster, namespace: str, monkeypatch: pytest.MonkeyPatch
):
    connect(monkeypatch, ADDRESS)
    access = ClusterAccess("eu", {"users": [{"user": {"token": "of-the-cluster"}}]})
    made = secrets(namespace, ADDRESS, "deploy", access)
    assert made.cluster is not None
    assert made.elsewhere
    assert json.loads(there(cluster, namespace)[made.cluster]["access"]) == access.to_json()
    assert not secrets(namespace, ADDRESS, "deploy", ClusterAccess("eu")).elsewhere


def test_where_secrets_are_named_none_is_applied(
    cluster: TestCluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, ADDRESS, extra={"kubernetes_secret": "modelyard-wine"})
    assert secrets(namespace, ADDRESS, store_secret="our-store") == Secrets("our-store", "modelyard-wine", None)
    assert there(cluster, namespace) == {}
