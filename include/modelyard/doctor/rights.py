"""The rights in a cluster that Airflow's worker and the deploying steps use, as docker/kubernetes grants them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from modelyard.deployment.kubernetes.cluster import Cluster

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(frozen=True)
class Right:
    """One verb on one kind of object of a namespace.

    Attributes:
        group: of the API; empty for Kubernetes' own first one.
        resource: ``pods``, or ``pods/log`` for what belongs to one.
        verb: of the API: ``get``, ``create``.
    """

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{f'.{self.group}' if self.group else ''}"


def _rights(*rows: tuple[str, str, str]) -> tuple[Right, ...]:
    return tuple(Right(group, resource, verb) for group, resource, verbs in rows for verb in verbs.split())


# A step as a pod, in the namespace of the steps.
WORKER = _rights(
    ("", "pods", "get list create patch delete"),
    ("", "pods/log", "get"),
    ("", "events", "list"),
    ("", "secrets", "create patch"),
)
# A release, in the namespace of an environment.
DEPLOYER = _rights(
    ("apps", "deployments", "get create patch delete"),
    ("", "services", "create patch"),
    ("", "serviceaccounts", "create patch"),
    ("networking.k8s.io", "networkpolicies", "create patch"),
    ("policy", "poddisruptionbudgets", "create patch"),
    ("", "pods", "list"),
    ("", "pods/log", "get"),
    ("", "services/proxy", "get create"),
)


def missing(cluster: Cluster, namespace: str, rights: Iterable[Right]) -> list[Right]:
    """Return those that the account behind ``cluster`` does not have in a namespace.

    Raises:
        Unavailable: the API server is away; DeploymentFailed: it does not know the account.
    """
    return [right for right in rights if not _is_granted(cluster, namespace, right)]


def _is_granted(cluster: Cluster, namespace: str, right: Right) -> bool:
    resource, _, subresource = right.resource.partition("/")
    wanted = {"group": right.group, "resource": resource, "subresource": subresource, "verb": right.verb}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"namespace": namespace, **wanted}},
    }
    _, _, answer = cluster.ask_once("POST", _REVIEWS, review)
    return bool(answer["status"]["allowed"])
