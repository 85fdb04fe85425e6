"""docker/kubernetes as an administrator applies it, in namespaces of a test."""

from __future__ import annotations

from base64 import b64encode
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from tests.fixtures_cluster import TestCluster
from tests.fixtures_machine import REPOSITORY
from tests.processes import wait_until

MANIFESTS = REPOSITORY / "docker" / "kubernetes"


def manifests(name: str, namespaces: dict[str, str]) -> list[dict[str, Any]]:
    """Return the objects in a file of docker/kubernetes, but for Namespaces, in these namespaces instead of its own."""
    objects = [one for one in yaml.safe_load_all((MANIFESTS / name).read_text()) if one["kind"] != "Namespace"]
    for one in objects:
        for place in (one["metadata"], *one.get("subjects", ())):
            if "namespace" in place:
                place["namespace"] = namespaces[place["namespace"]]
    return objects


def apply(cluster: TestCluster, objects: list[dict[str, Any]], namespace: str) -> None:
    """Make the objects, those that name no namespace in this one; return when the rights among them count.

    The API server answers that a Role or a binding is made before its authorizer has seen it.
    """
    from kubernetes import utils

    for one in objects:
        utils.create_from_dict(cluster.api, one, namespace=namespace)
    for one in objects:
        if one["kind"] == "RoleBinding":
            wait_until(partial(_counts, cluster, one, namespace), f"rights by {one['metadata']['name']}", 30)


def _counts(cluster: TestCluster, binding: dict[str, Any], namespace: str) -> bool:
    """Return whether every account of a binding has what the last rule of its Role gives."""
    from kubernetes import client

    place = binding["metadata"].get("namespace", namespace)
    role = client.RbacAuthorizationV1Api(cluster.api).read_namespaced_role(binding["roleRef"]["name"], place)
    if not role.rules:
        return True
    rule = role.rules[-1]
    resource, _, subresource = rule.resources[-1].partition("/")
    asked = {
        "namespace": place,
        "group": rule.api_groups[-1],
        "resource": resource,
        "subresource": subresource,
        "verb": rule.verbs[-1],
    }
    users = [f"system:serviceaccount:{one['namespace']}:{one['name']}" for one in binding["subjects"]]
    reviews = client.AuthorizationV1Api(cluster.api)
    return all(
        reviews.create_subject_access_review({"spec": {"user": user, "resourceAttributes": asked}}).status.allowed
        for user in users
    )


def apply_rights(cluster: TestCluster, namespace: str, airflow: str) -> None:
    """Make the accounts of steps and deployer with their rights in ``namespace``, and the rights of Airflow's accounts.

    Args:
        cluster: with all rights.
        namespace: of the steps, and of an environment as well.
        airflow: the namespace that Airflow's accounts are of.
    """
    named = {"modelyard": namespace, "airflow": airflow}
    apply(cluster, manifests("modelyard.yaml", named), namespace)
    apply(cluster, manifests("environment.yaml", named), namespace)


def kubeconfig(cluster: TestCluster, file: Path, server: str, account: str, namespace: str) -> Path:
    """Write a file by which whoever has it is a service account, as its pods are by their mounted token."""
    from kubernetes import client

    core = client.CoreV1Api(cluster.api)
    authority = b64encode(Path(cluster.api.configuration.ssl_ca_cert).read_bytes()).decode()
    core.create_namespaced_service_account(namespace, {"metadata": {"name": account}})
    wanted = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=7200))
    token = core.create_namespaced_service_account_token(account, namespace, wanted).status.token
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority-data": authority}}],
                "users": [{"name": account, "user": {"token": token}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": account}}],
                "current-context": "test",
            }
        )
    )
    return file
