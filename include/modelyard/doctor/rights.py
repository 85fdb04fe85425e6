"""The rights in a cluster that Airflow's worker and the deploying steps use, as docker/kubernetes grants them."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Role:
    """The rights that one work takes.

    Attributes:
        work: what they are for, as what an account may do.
        file: of this repository, that grants them.
    """

    work: str
    file: str
    rights: tuple[Right, ...]


def _rights(*rows: tuple[str, str, str]) -> tuple[Right, ...]:
    return tuple(Right(group, resource, verb) for group, resource, verbs in rows for verb in verbs.split())


WORKER = Role(
    "run steps",
    "docker/kubernetes/modelyard.yaml",
    _rights(
        ("", "pods", "create get list patch delete"),
        ("", "pods/log", "get"),
        ("", "events", "list"),
        ("", "secrets", "create patch"),
    ),
)
DEPLOYER = Role(
    "deploy",
    "docker/kubernetes/environment.yaml",
    _rights(
        ("apps", "deployments", "get create patch delete"),
        ("", "services", "get create patch"),
        ("", "serviceaccounts", "get create patch"),
        ("networking.k8s.io", "networkpolicies", "get create patch"),
        ("policy", "poddisruptionbudgets", "get create patch"),
        ("autoscaling", "horizontalpodautoscalers", "get create patch delete"),
        ("networking.k8s.io", "ingresses", "get create patch delete"),
        ("", "pods", "list"),
        ("", "pods/log", "get"),
        ("", "events", "list"),
        ("", "services/proxy", "create"),
    ),
)


def missing(cluster: Cluster, namespace: str, role: Role) -> str:
    """Return, in words, what the account behind ``cluster`` lacks in a namespace of a role; nothing if it has it all.

    Raises:
        Unavailable: the API server is away; DeploymentFailed: it does not know the account.
    """
    verbs: dict[str, list[str]] = {}
    for right in role.rights:
        if not _is_granted(cluster, namespace, right):
            verbs.setdefault(f"{right.resource}{f'.{right.group}' if right.group else ''}", []).append(right.verb)
    return ", ".join(f"{resource} ({' '.join(lacking)})" for resource, lacking in verbs.items())


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
