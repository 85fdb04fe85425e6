"""Deploying to the cluster of a connection: with a kubeconfig alone, whatever is configured where the step runs."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures_cluster import TestCluster
from tests.kubernetes.conftest import deployer
from tests.model_images import MODEL, ModelImages

from modelyard.deployment import ClusterAccess, open_target

pytestmark = pytest.mark.slow


@pytest.fixture
def nothing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")


def kubeconfig(cluster: TestCluster, namespace: str) -> dict[str, Any]:
    """A kubeconfig of the deploying account: its token, and the cluster's certificate."""
    settings = deployer(cluster, namespace).configuration
    certificate = base64.b64encode(Path(settings.ssl_ca_cert).read_bytes()).decode()
    token = settings.auth_settings()["BearerToken"]["value"].removeprefix("Bearer ")
    return {
        "current-context": "there",
        "contexts": [{"name": "there", "context": {"cluster": "there", "user": "deployer"}}],
        "clusters": [
            {"name": "there", "cluster": {"server": settings.host, "certificate-authority-data": certificate}}
        ],
        "users": [{"name": "deployer", "user": {"token": token}}],
    }


@pytest.mark.usefixtures("nothing_here")
def test_a_version_goes_to_the_cluster_and_namespace_of_the_connection(
    cluster: TestCluster, namespace: str, model_images: ModelImages, tmp_path: Path
) -> None:
    extra = {"kube_config": json.dumps(kubeconfig(cluster, namespace)), "namespace": namespace}
    access = ClusterAccess.from_extra("there", extra)
    target = open_target("kubernetes", tmp_path, model_images.images, None, access)

    address = target.deploy(model_images.spec("production", 1), print)

    assert address == f"http://{MODEL}.{namespace}.svc"
    live = target.current(MODEL, "production")
    assert live is not None
    assert live.running


def test_a_kubeconfig_with_a_clients_key_works_from_its_path(
    cluster: TestCluster, namespace: str, model_images: ModelImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = ClusterAccess.from_extra("there", {"kube_config_path": os.environ["KUBECONFIG"]})
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    assert open_target("kubernetes", tmp_path, model_images.images, namespace, access).current(MODEL, "x") is None
    for left in (tmp_path / "clusters").iterdir():
        assert left.stat().st_mode & 0o077 == 0
    assert cluster
