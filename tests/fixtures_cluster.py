"""A real Kubernetes cluster: the one that KUBECONFIG names, with a registry that its nodes and this machine reach."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass(frozen=True)
class TestCluster:
    """A cluster, with all rights in it.

    Attributes:
        api: a ``kubernetes.client.ApiClient``.
        registry: ``host:port`` of a registry with plain HTTP, with ``library/python:3.11-slim`` in it.
        node_ip: the address at which pods reach this machine.
    """

    __test__ = False

    api: Any
    registry: str
    node_ip: str


@pytest.fixture(scope="session")
def cluster() -> TestCluster:
    """The cluster of KUBECONFIG, CLUSTER_REGISTRY and CLUSTER_NODE_IP."""
    for name in ("KUBECONFIG", "CLUSTER_REGISTRY", "CLUSTER_NODE_IP"):
        if name not in os.environ:
            pytest.skip(f"{name} is not set")
    from kubernetes import config

    return TestCluster(config.new_client_from_config(), os.environ["CLUSTER_REGISTRY"], os.environ["CLUSTER_NODE_IP"])


@pytest.fixture
def namespace(cluster: TestCluster) -> Iterator[str]:
    """A fresh namespace that lets in only pods of the restricted Pod Security Standard; gone after the test."""
    from kubernetes import client

    name = f"test-{uuid.uuid4().hex[:12]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    core = client.CoreV1Api(cluster.api)
    core.create_namespace({"metadata": {"name": name, "labels": labels}})
    yield name
    core.delete_namespace(name)
