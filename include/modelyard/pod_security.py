"""The restricted Pod Security Standard, as every pod of Modelyard keeps it: steps, model servers, probes."""

from __future__ import annotations

from typing import Any

JSON = dict[str, Any]

USER = 65532  # "nonroot" in distroless images: owns nothing in an image


def of_pod(*, owns_volumes: bool = False) -> JSON:
    """Return a pod's ``securityContext``.

    Args:
        owns_volumes: what is mounted is readable by the pod's own group; Secrets are root's otherwise.
    """
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        **({"fsGroup": USER} if owns_volumes else {}),
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def of_container() -> JSON:
    """Return a container's ``securityContext``."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
