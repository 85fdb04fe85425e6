"""The prediction log of a model server's pod: the folder it writes to, and the shipper beside it.

The shipper runs in the runner image, which has a client of the object store and nothing of any project. The model image
has neither: its server is small because it reaches nobody. As a native side-car (Kubernetes 1.29) the shipper is told
to end when the server has ended, so that what a server wrote last is sent as well.
"""

from __future__ import annotations

from modelyard.deployment.target import JSON, PredictionLog

CONTAINER = "shipper"
FOLDER = "/var/lib/modelyard/predictions"
# What is left when the server has ended is sent in a second, unless the object store is away.
GRACE_SECONDS = 300

_CREDENTIAL = "/run/modelyard/shipper"
_VOLUME, _SECRET_VOLUME = "predictions", "shipper"
_ROOM = 64 * 1024 * 1024  # a pod whose folder is larger than it may be is evicted; the server stays below by itself


def secret_name(model: str) -> str:
    """Return the name of the Secret with the shipper's credential, in the service's namespace."""
    return f"modelyard-predictions-{model}"


def volumes(model: str, log: PredictionLog) -> list[JSON]:
    """The folder that server and shipper share, and the credential that is the shipper's alone."""
    secret = {"secretName": secret_name(model), "defaultMode": 0o444}
    return [
        {"name": _VOLUME, "emptyDir": {"sizeLimit": str(log.most_bytes + _ROOM)}},
        *([{"name": _SECRET_VOLUME, "secret": secret}] if log.needs_credential else []),
    ]


def mount() -> JSON:
    """The folder, in the server's container."""
    return {"name": _VOLUME, "mountPath": FOLDER}


def container(log: PredictionLog, security: JSON) -> JSON:
    """The shipper's container, to be among the pod's init containers.

    Args:
        log: what it sends, and where.
        security: the context of the server's container.
    """
    arguments = ["predictions", "ship", FOLDER, "--prefix", log.prefix]
    mounts = [mount()]
    if log.needs_credential:
        arguments += ["--credential", _CREDENTIAL]
        mounts.append({"name": _SECRET_VOLUME, "mountPath": _CREDENTIAL, "readOnly": True})
    return {
        "name": CONTAINER,
        "image": log.image,
        "args": arguments,
        "env": [{"name": name, "value": value} for name, value in sorted(log.destination.items())],
        "restartPolicy": "Always",
        # Both are said: an autoscaler measures no pod with a container that asks for none, and a quota admits none.
        "resources": {"requests": {"cpu": "10m", "memory": "128Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}},
        "securityContext": security,
        "volumeMounts": mounts,
    }


def endpoint(log: PredictionLog) -> str:
    """Return the address of the object store, which the pod has to reach."""
    return log.destination.get("MODELYARD_S3_ENDPOINT_URL") or "https://"
