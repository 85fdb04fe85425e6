"""The cluster, seen from here: version, namespaces, rights, storage, metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from modelyard.deployment.kubernetes.cluster import Cluster
from modelyard.doctor import clock
from modelyard.doctor.finding import Finding
from modelyard.doctor.rights import DEPLOYER, WORKER, Role, missing

SUBJECT = "Kubernetes"
_OLDEST = (1, 29)
_ENFORCE = "pod-security.kubernetes.io/enforce"
_DEFAULT = "storageclass.kubernetes.io/is-default-class"
_REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}


def look(cluster: Cluster) -> Iterator[Finding]:
    """Tell what the cluster is, and what it has for all namespaces."""
    before = datetime.now(UTC)
    _, headers, version = cluster.ask_once("GET", "/version")
    after = datetime.now(UTC)
    numbers = (int(version["major"]), int("".join(filter(str.isdigit, version["minor"]))))
    if numbers < _OLDEST:
        yield Finding(
            "failed",
            SUBJECT,
            f"{version['gitVersion']} has no side-cars that start before a container and end after it",
            f"use Kubernetes {_OLDEST[0]}.{_OLDEST[1]} or newer",
        )
    else:
        yield Finding("ok", SUBJECT, f"{version['gitVersion']}, as {_who(cluster)}")
    yield from clock.by_header(SUBJECT, headers.get("Date"), before, after)
    yield _storage(cluster)
    yield _metrics(cluster)


def look_at_namespace(cluster: Cluster, name: str) -> Iterator[Finding]:
    """Is a namespace there, and does it keep pods within the restricted standard?"""
    subject = f"Namespace {name}"
    status, _, answer = cluster.ask_once("GET", f"/api/v1/namespaces/{quote(name)}", accept=(403, 404))
    if status == 404:
        yield Finding(
            "failed", subject, "is not there", "create it, as the first lines of docker/kubernetes/*.yaml say"
        )
    elif status == 403:
        yield Finding("skipped", subject, "this account may not look at the namespace itself, and needs not")
    elif (level := (answer["metadata"].get("labels") or {}).get(_ENFORCE)) == "restricted":
        yield Finding("ok", subject, "is there, and enforces the restricted Pod Security Standard")
    else:
        yield Finding(
            "warning",
            subject,
            f"enforces {f'the Pod Security Standard {level}' if level else 'no Pod Security Standard'}",
            f"kubectl label namespace {name} {_ENFORCE}=restricted --overwrite",
        )


def look_at_rights(cluster: Cluster, steps: str | None, environments: Sequence[str]) -> Iterator[Finding]:
    """Has this very account what it takes to run steps as pods in ``steps``, and to deploy to ``environments``?"""
    wanted = [(steps, WORKER)] if steps else []
    for namespace, role in [*wanted, *((name, DEPLOYER) for name in environments)]:
        yield told(_who(cluster), namespace, role, missing(cluster, namespace, role))


def told(account: str, namespace: str, role: Role, lacking: str) -> Finding:
    """Return what there is to say of an account's rights in a namespace."""
    subject = f"Rights in {namespace}"
    if not lacking:
        return Finding("ok", subject, f"{account} may {role.work}: all {len(role.rights)} verbs")
    return Finding(
        "failed",
        subject,
        f"{account} may not {role.work}: it lacks {lacking}",
        f"apply {role.file} with this namespace, and name this account under `subjects` of its RoleBinding",
    )


def _who(cluster: Cluster) -> str:
    status, _, answer = cluster.ask_once(
        "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", _REVIEW, (403, 404)
    )
    return "an account with no name" if status >= 400 else str(answer["status"]["userInfo"]["username"])


def _storage(cluster: Cluster) -> Finding:
    status, _, answer = cluster.ask_once("GET", "/apis/storage.k8s.io/v1/storageclasses", accept=(403,))
    if status == 403:
        return Finding("skipped", "Default storage", "this account may not list storage classes, and needs not")
    names = [one["metadata"]["name"] for one in answer["items"] if _is_default(one)]
    if names:
        return Finding("ok", "Default storage", names[0])
    return Finding(
        "ok", "Default storage", "none, and none is needed, unless MongoDB, S3 or registry are to run in this cluster"
    )


def _is_default(storage_class: dict[str, Any]) -> bool:
    return bool((storage_class["metadata"].get("annotations") or {}).get(_DEFAULT) == "true")


def _metrics(cluster: Cluster) -> Finding:
    status, _, _ = cluster.ask_once("GET", "/apis/metrics.k8s.io/v1beta1", accept=(403, 404, 503))
    if status == 200:
        return Finding("ok", "Pod metrics", "the metrics API answers")
    return Finding(
        "warning", "Pod metrics", "no metrics API: no service can scale by its load", "install metrics-server"
    )
