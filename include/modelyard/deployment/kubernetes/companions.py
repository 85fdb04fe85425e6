"""What stands beside a Deployment: it owns all of it, and they have its name."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from modelyard.deployment.kubernetes import manifests, side_car
from modelyard.deployment.kubernetes.manifests import Place, Release
from modelyard.deployment.target import JSON

AUTOSCALER, INGRESS = "HorizontalPodAutoscaler", "Ingress"
_DNS = 53
KINDS = ("ServiceAccount", "NetworkPolicy", "PodDisruptionBudget", "Service", AUTOSCALER, INGRESS)


def companions(place: Place, release: Release, uid: str) -> dict[str, JSON | None]:
    """What a Deployment has beside it by kind, in the order to apply it; None is what must not be there.

    All go when the Deployment of this uid goes.
    """
    metadata = manifests.metadata(place, release) | {
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": place.model, "uid": uid}]
    }
    always = {manifest["kind"]: manifest for manifest in _always(place, release, metadata)}
    return {
        **always,
        AUTOSCALER: _autoscaler(place, release, metadata),
        INGRESS: _ingress(place, release, metadata),
    }


def _always(place: Place, release: Release, metadata: JSON) -> list[JSON]:
    selector = {"matchLabels": place.selector}
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata,
            "automountServiceAccountToken": False,
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": metadata,
            # Whoever may reach the namespace may ask; the server itself, and so the model's code, reaches nobody but a
            # collector of traces. Where a shipper stands beside it, that one's object store is not closed to it, but it
            # has no credential.
            "spec": {
                "podSelector": selector,
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"ports": [{"protocol": "TCP", "port": manifests.PORT_NUMBER}]}],
                "egress": _egress(
                    ([side_car.endpoint(release.log)] if release.log else [])
                    + ([release.tracing.endpoint] if release.tracing else [])
                ),
            },
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata,
            # Not minAvailable: with one replica no node could ever be drained.
            "spec": {"maxUnavailable": 1, "selector": selector, "unhealthyPodEvictionPolicy": "AlwaysAllow"},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {
                "type": "ClusterIP",
                "selector": place.selector,
                "ports": [{"name": manifests.PORT, "protocol": "TCP", "port": 80, "targetPort": manifests.PORT}],
            },
        },
    ]


def _egress(addresses: Iterable[str]) -> list[JSON]:
    """What a pod may reach: each of these, by its port, and at its address where that is a number.

    A policy is a pod's, never a container's, and knows no names: where a host has one, its port is open to all.
    """
    rules: list[JSON] = []
    named = False
    for parts in map(urlsplit, addresses):
        port = {"protocol": "TCP", "port": parts.port or (80 if parts.scheme == "http" else 443)}
        try:
            address = ip_address(parts.hostname or "")
        except ValueError:
            named = True
            rules.append({"ports": [port]})
        else:
            rules.append({"ports": [port], "to": [{"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}}]})
    return rules + ([{"ports": [{"protocol": kind, "port": _DNS} for kind in ("UDP", "TCP")]}] if named else [])


def _autoscaler(place: Place, release: Release, metadata: JSON) -> JSON | None:
    if release.autoscaling is None:
        return None
    used = {"type": "Utilization", "averageUtilization": release.autoscaling.cpu}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": AUTOSCALER,
        "metadata": metadata,
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": place.model},
            "minReplicas": release.replicas,
            "maxReplicas": release.autoscaling.max_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": used}}],
        },
    }


def _ingress(place: Place, release: Release, metadata: JSON) -> JSON | None:
    ingress = release.ingress
    if ingress is None:
        return None
    backend = {"service": {"name": place.model, "port": {"name": manifests.PORT}}}
    path = {"path": ingress.path, "pathType": "Prefix", "backend": backend}
    tls = {"tls": [{"hosts": [ingress.host], "secretName": ingress.tls_secret}]} if ingress.tls_secret else {}
    chosen = {"ingressClassName": ingress.class_name} if ingress.class_name else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": INGRESS,
        "metadata": metadata | {"annotations": {**ingress.annotations, **metadata["annotations"]}},
        "spec": {**chosen, **tls, "rules": [{"host": ingress.host, "http": {"paths": [path]}}]},
    }
