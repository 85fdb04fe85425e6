"""The doctor before a real cluster: a good one, one without rights, one whose pods find nobody."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from click.testing import CliRunner, Result
from kubernetes import client
from tests.fixtures_cluster import TestCluster
from tests.fixtures_machine import REPOSITORY
from tests.forwarding import forwarded

from modelyard.cli import main
from modelyard.store import StoreAddress

PASSWORD = "a-secret-key-that-no-line-may-show"


@pytest.fixture
def address(cluster: TestCluster, mongo_uri: str, s3: Any) -> Iterator[StoreAddress]:
    """A store at addresses that pods reach."""
    with ExitStack() as stack:

        def reachable(url: str) -> str:
            parts = urlsplit(url)
            there = stack.enter_context(forwarded(cluster.node_ip, (str(parts.hostname), int(parts.port or 0))))
            return url.replace(f"{parts.hostname}:{parts.port}", there)

        yield replace(s3, secret_key=PASSWORD, endpoint_url=reachable(s3.endpoint_url)).address(
            mongo_uri=f"{reachable(mongo_uri)}&directConnection=true",  # it names itself by its loopback address
            database=f"test_{uuid.uuid4().hex}",
            registry=f"{cluster.registry}/test-{uuid.uuid4().hex[:12]}",
            registry_insecure=True,
        )


@pytest.fixture
def accounts(cluster: TestCluster, namespace: str) -> str:
    """The namespace, with the accounts and the Role of docker/kubernetes in it."""
    folder = REPOSITORY / "docker" / "kubernetes"
    core, rbac = client.CoreV1Api(cluster.api), client.RbacAuthorizationV1Api(cluster.api)
    for document in yaml.safe_load_all((folder / "modelyard.yaml").read_text()):
        if document["kind"] == "ServiceAccount":
            core.create_namespaced_service_account(
                namespace, document | {"metadata": {**document["metadata"], "namespace": namespace}}
            )
    role, binding = yaml.safe_load_all((folder / "environment.yaml").read_text())
    binding["subjects"][0]["namespace"] = namespace
    rbac.create_namespaced_role(namespace, role)
    rbac.create_namespaced_role_binding(namespace, binding)
    return namespace


def doctor(address: StoreAddress, home: Path, *options: str, **environment: str) -> Result:
    variables = {**address.to_environment(), "MODELYARD_HOME": str(home), "AIRFLOW_HOME": None, **environment}
    result = CliRunner(env=variables).invoke(main, ["doctor", *options])
    print(result.output)
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert address.mongo_uri not in result.output
    assert PASSWORD not in result.output
    return result


def pods(cluster: TestCluster, namespace: str) -> list[Any]:
    """Return what is left of the doctor's pods, but those that are on their way out."""
    selector = "app.kubernetes.io/component=doctor"
    found: list[Any] = client.CoreV1Api(cluster.api).list_namespaced_pod(namespace, label_selector=selector).items
    return [pod for pod in found if pod.metadata.deletion_timestamp is None]


def test_all_is_well(
    cluster: TestCluster, accounts: str, runner_image: str, address: StoreAddress, tmp_path: Path
) -> None:
    options = ["--namespace", accounts, "--environment-namespace", accounts, "--runner-image", runner_image]
    result = doctor(address, tmp_path, *options)
    assert result.exit_code == 0
    assert "failed" not in result.stdout
    assert "warning" not in result.stdout
    for said in (
        "v1.",
        f"Namespace {accounts}",
        "may run steps: all",
        "starts: Modelyard",
        "MongoDB from a pod",
        "Artifacts from a pod",
        "Registry from a pod",
        f"{accounts}:modelyard-deployer may deploy: all",
    ):
        assert said in result.stdout
    assert pods(cluster, accounts) == []
