"""The doctor before a real cluster: a good one, one without rights, one whose pods find nobody."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from kubernetes import client
from tests.fixtures_cluster import TestCluster
from tests.fixtures_machine import REPOSITORY
from tests.forwarding import forwarded
from tests.kubernetes.administration import apply, manifests

from modelyard.doctor.rights import WORKER, Right
from modelyard.provider_info import connections
from modelyard.store import StoreAddress

Result = subprocess.CompletedProcess[str]
PASSWORD = "a-secret-key-that-no-line-may-show"


@pytest.fixture
def address(cluster: TestCluster, mongo_uri: str, s3: Any) -> Iterator[StoreAddress]:
    """A store at addresses that pods reach."""
    with ExitStack() as stack:

        def reachable(url: str) -> str:
            parts = urlsplit(url)
            there = stack.enter_context(forwarded(cluster.node_ip, (str(parts.hostname), int(parts.port or 0))))
            return url.replace(f"{parts.hostname}:{parts.port}", there)

        yield replace(s3, endpoint_url=reachable(s3.endpoint_url)).address(
            mongo_uri=f"{reachable(mongo_uri)}&directConnection=true",  # it names itself by its loopback address
            database=f"test_{uuid.uuid4().hex}",
            registry=f"{cluster.registry}/test-{uuid.uuid4().hex[:12]}",
            registry_insecure=True,
        )


@pytest.fixture
def accounts(cluster: TestCluster, namespace: str) -> str:
    """The namespace, with the accounts and the Role of docker/kubernetes in it."""
    named = {"modelyard": namespace, "airflow": namespace}
    found = [one for one in manifests("modelyard.yaml", named) if one["kind"] == "ServiceAccount"]
    apply(cluster, found + manifests("environment.yaml", named), namespace)
    return namespace


def account(
    cluster: TestCluster, namespace: str, rights: Sequence[Right], folder: Path, token: str | None = None
) -> str:
    """Make the service account ``airflow`` with just these rights, and return the path of its kubeconfig."""
    group = "rbac.authorization.k8s.io"
    kind: dict[str, Any] = {"apiVersion": f"{group}/v1", "metadata": {"name": "airflow", "namespace": namespace}}
    rules = [{"apiGroups": [one.group], "resources": [one.resource], "verbs": [one.verb]} for one in rights]
    binding = {
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "airflow"},
        "subjects": [{"kind": "ServiceAccount", "name": "airflow", "namespace": namespace}],
    }
    core = client.CoreV1Api(cluster.api)
    core.create_namespaced_service_account(namespace, {"metadata": {"name": "airflow"}})
    made = [kind | {"kind": "Role", "rules": rules}, kind | {"kind": "RoleBinding"} | binding]
    apply(cluster, made, namespace)
    if token is None:
        asked = {"spec": {"expirationSeconds": 600}}
        token = core.create_namespaced_service_account_token("airflow", namespace, asked).status.token
    settings = cluster.api.configuration
    server = {"server": settings.host, "certificate-authority": settings.ssl_ca_cert}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": server}],
        "users": [{"name": "test", "user": {"token": token}}],
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    return str(folder / "kubeconfig")


def doctor(address: StoreAddress, home: Path, *options: str, **environment: str) -> Result:
    """Run the command as a process of its own: the cluster's library reads KUBECONFIG when it is imported."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    variables = {**inherited, **address.to_environment(), "MODELYARD_HOME": str(home), **environment}
    command = [sys.executable, "-m", "modelyard", "doctor", *options]
    result = subprocess.run(command, env=variables, capture_output=True, text=True)
    print(result.stdout, result.stderr)
    assert "Traceback" not in result.stderr
    for secret in (address.mongo_uri, str(urlsplit(address.mongo_uri).password), str(address.s3_secret_key), PASSWORD):
        assert secret not in result.stdout + result.stderr
    return result


def lines(result: Result, state: str) -> dict[str, str]:
    """Return what was found, by subject; of several with one subject, the last."""
    found = [line for line in result.stdout.splitlines() if line.startswith(state)]
    return {line[9:].partition("  ")[0]: line[37:].strip() for line in found}


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
    assert result.returncode == 0
    assert lines(result, "failed") == lines(result, "warning") == {}
    fine = lines(result, "ok")
    assert fine["Kubernetes"].startswith("v1.")
    assert "restricted" in fine[f"Namespace {accounts}"]
    assert "starts: Modelyard" in fine["Runner image"]
    for subject in ("MongoDB", "Artifacts", "Registry"):
        assert "takes a connection" in fine[f"{subject} from a pod"]
    assert "may run steps: all" in result.stdout
    assert f"{accounts}:modelyard-deployer may deploy: all" in result.stdout
    assert pods(cluster, accounts) == []


def test_the_least_rights_are_enough(
    cluster: TestCluster, accounts: str, runner_image: str, address: StoreAddress, tmp_path: Path
) -> None:
    kubeconfig = account(cluster, accounts, WORKER.rights, tmp_path)
    options = ["--namespace", accounts, "--environment-namespace", accounts, "--runner-image", runner_image]
    result = doctor(address, tmp_path, *options, KUBECONFIG=kubeconfig)
    assert result.returncode == 0
    assert lines(result, "failed") == {}
    assert f"as system:serviceaccount:{accounts}:airflow" in lines(result, "ok")["Kubernetes"]
    assert f"Namespace {accounts}" in lines(result, "skipped")
    assert pods(cluster, accounts) == []


def test_an_account_and_a_namespace_without_rights(
    cluster: TestCluster, namespace: str, runner_image: str, address: StoreAddress, tmp_path: Path
) -> None:
    kubeconfig = account(cluster, namespace, (), tmp_path)
    options = ["--namespace", namespace, "--environment-namespace", "not-there", "--runner-image", runner_image]
    result = doctor(address, tmp_path, *options, KUBECONFIG=kubeconfig)
    assert result.returncode == 1
    failed = lines(result, "failed")
    assert "it lacks pods (create get list patch delete), pods/log (get)" in failed[f"Rights in {namespace}"]
    assert 'cannot create resource "pods"' in failed["Pod as modelyard-step"]
    assert "docker/kubernetes" in result.stdout


def test_a_token_that_the_cluster_does_not_know(
    cluster: TestCluster, namespace: str, address: StoreAddress, tmp_path: Path
) -> None:
    kubeconfig = account(cluster, namespace, (), tmp_path, token=PASSWORD)
    result = doctor(address, tmp_path, "--namespace", namespace, KUBECONFIG=kubeconfig)
    assert result.returncode == 1
    assert "does not know the account" in lines(result, "failed")["Kubernetes"]


def test_what_is_wrong_with_namespaces(
    cluster: TestCluster, namespace: str, runner_image: str, address: StoreAddress, tmp_path: Path
) -> None:
    core = client.CoreV1Api(cluster.api)
    core.patch_namespace(namespace, {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}})
    options = ["--namespace", namespace, "--environment-namespace", "not-there", "--runner-image", runner_image]
    result = doctor(address, tmp_path, *options)
    assert result.returncode == 1
    assert "Pod Security Standard baseline" in lines(result, "warning")[f"Namespace {namespace}"]
    failed = lines(result, "failed")
    assert failed["Namespace not-there"] == "is not there"
    assert 'serviceaccount "modelyard-step" not found' in failed["Pod as modelyard-step"]
    assert 'serviceaccount "modelyard-deployer" not found' in failed["Pod as modelyard-deployer"]


def test_pods_see_what_this_machine_does_not(
    cluster: TestCluster, accounts: str, runner_image: str, address: StoreAddress, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text("certificates of this machine alone")
    elsewhere = replace(
        address, s3_endpoint_url="http://nowhere.invalid:9000", registry_ca_bundle=str(tmp_path / "ca.pem")
    )
    rbac = client.RbacAuthorizationV1Api(cluster.api)
    rbac.delete_namespaced_role_binding("modelyard-deployer", accounts)
    options = ["--namespace", accounts, "--environment-namespace", accounts, "--runner-image", runner_image]
    result = doctor(elsewhere, tmp_path, *options)
    assert result.returncode == 1
    failed = lines(result, "failed")
    assert "name is not known there" in failed["Artifacts from a pod"]
    assert str(tmp_path / "ca.pem") in failed["Certificates in a pod"]
    assert "may not deploy: it lacks deployments.apps (get create patch delete)" in failed[f"Rights in {accounts}"]
    assert "takes a connection" in lines(result, "ok")["MongoDB from a pod"]
    assert pods(cluster, accounts) == []


def test_what_airflow_is_set_to_is_what_pods_get(
    cluster: TestCluster, accounts: str, runner_image: str, address: StoreAddress, tmp_path: Path
) -> None:
    # An account at a registry that asks nobody.
    store = replace(address, registry_username="robot", registry_password=PASSWORD, installation=accounts)
    template = {"spec": {"priorityClassName": "there-is-none"}}
    (tmp_path / "template.yaml").write_text(yaml.safe_dump(template))
    kubeconfig = account(cluster, accounts, WORKER.rights, tmp_path)
    to_cluster = {"conn_type": "kubernetes", "extra": {"kube_config_path": kubeconfig}}
    settings = {
        "KUBECONFIG": "",
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps(to_cluster),
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__MODELYARD__EXECUTION": "kubernetes",
        "AIRFLOW__MODELYARD__NAMESPACE": accounts,
        "AIRFLOW__MODELYARD__RUNNER_IMAGE": runner_image,
        "MODELYARD_MONGO_URI": "",
        **{f"AIRFLOW_CONN_{name.upper()}": value for name, value in connections(store).items()},
    }
    result = doctor(store, tmp_path, **settings)
    assert set(lines(result, "failed")) == {"Airflow's processes"}  # none runs
    assert "Registry from a pod" in lines(result, "ok")
    assert f"as system:serviceaccount:{accounts}:airflow" in lines(result, "ok")["Kubernetes"]
    core = client.CoreV1Api(cluster.api)
    (secret,) = core.list_namespaced_secret(accounts, field_selector="type=kubernetes.io/dockerconfigjson").items
    assert secret.metadata.annotations["modelyard.io/connection"] == "model_store_registry"

    result = doctor(store, tmp_path, **settings, AIRFLOW__MODELYARD__POD_TEMPLATE=str(tmp_path / "template.yaml"))
    assert "no PriorityClass with name there-is-none" in lines(result, "failed")["Pod as modelyard-step"]
    assert pods(cluster, accounts) == []


def test_an_image_that_cannot_be_pulled(
    cluster: TestCluster, accounts: str, address: StoreAddress, tmp_path: Path
) -> None:
    image = f"{cluster.registry}/nobody/has-pushed:this"
    result = doctor(address, tmp_path, "--namespace", accounts, "--runner-image", image)
    assert result.returncode == 1
    assert f"cannot pull {image}" in lines(result, "failed")["Pod as modelyard-step"]
    assert pods(cluster, accounts) == []


def test_an_image_that_is_no_runner(cluster: TestCluster, accounts: str, address: StoreAddress, tmp_path: Path) -> None:
    image = f"{cluster.registry}/library/python:3.11-slim"
    result = doctor(address, tmp_path, "--namespace", accounts, "--runner-image", image)
    assert result.returncode == 1
    assert f"{image} cannot look around: " in lines(result, "failed")["Pod as modelyard-step"]
    assert "modelyard image runner --push" in result.stdout
    assert pods(cluster, accounts) == []


def test_an_interrupt_leaves_no_pod(
    cluster: TestCluster, accounts: str, runner_image: str, address: StoreAddress, tmp_path: Path
) -> None:
    variables = {**os.environ, **address.to_environment(), "MODELYARD_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "modelyard", "doctor", "--namespace", accounts, "--runner-image", runner_image]
    with subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("Waiting for a pod"):
                process.send_signal(signal.SIGINT)
        assert process.wait() != 0
    assert pods(cluster, accounts) == []
