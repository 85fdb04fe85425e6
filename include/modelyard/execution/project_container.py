"""What a project's own Dockerfile adds to a step's pod: beside `prepare` its builder, beside the others its image.

The builder alone is not within the restricted Pod Security Standard. It makes a user namespace with many users: so it
may gain the two capabilities that hand these out, which `newuidmap` and `newgidmap` have, and it has no seccomp profile
of a container runtime, as none lets a namespace be made. It has no root, no token, no Secret, and shares two folders
with the step.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from modelyard import pod_security
from modelyard.client.stand_in import FOLDER, SOCKET
from modelyard.dockerfile.beside import REQUEST, RESULT
from modelyard.execution.command import ProjectImage

JSON = dict[str, Any]

SHARED = Path("/modelyard-build")  # with the builder
PROJECT, BUILDER = "project", "builder"
BUILDER_IMAGE = "quay.io/buildah/stable:v1.42.2"

_USER = 1000  # "build" of Buildah's own images, for whom they have subordinate users
_WORK = "/build"


def project_container(image: ProjectImage, home: str, asked: JSON, resources: JSON) -> JSON:
    """Return the native side-car in which a project's code runs: the image as it is, and the folders of the step.

    Args:
        image: the project's own.
        home: the step's folder, which both have.
        asked: what model.yaml gives to the project's code, in Kubernetes' own spelling.
        resources: likewise; the step itself needs little.
    """
    return {
        "name": PROJECT,
        "image": image.reference,
        "restartPolicy": "Always",
        "command": starting(image.python, f"{home}/{FOLDER}/{SOCKET}"),
        "env": list(asked.get("env", ())),
        "envFrom": list(asked.get("envFrom", ())),
        "resources": resources,
        "securityContext": pod_security.of_container(),
        "volumeMounts": [
            {"name": "home", "mountPath": home},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
        ],
    }


def starting(python: str, socket: str) -> list[str]:
    """Return the command that starts a project's code when the step asks for it at ``socket``."""
    return [python, "-I", "-c", _source("client/starter.py"), socket]


def builder_container(image: str, seccomp_profile: str | None, resources: JSON) -> JSON:
    """Return the native side-car that builds a Dockerfile.

    Args:
        image: with Buildah.
        seccomp_profile: path of a profile on the nodes that lets a user namespace be made; None for no profile at all.
        resources: those of the step, which itself needs little.
    """
    profile = {"type": "Localhost", "localhostProfile": seccomp_profile} if seccomp_profile else {"type": "Unconfined"}
    return {
        "name": BUILDER,
        "image": image,
        "restartPolicy": "Always",
        "command": ["sh", "-c", _source("dockerfile/builder.sh"), "builder"],
        "args": [str(SHARED / REQUEST), str(SHARED / RESULT), _WORK],
        "resources": resources,
        "securityContext": {
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": True,  # newuidmap is a program with a capability of its own
            "capabilities": {"drop": ["ALL"], "add": ["SETUID", "SETGID"]},
            "seccompProfile": profile,
        },
        "volumeMounts": [
            {"name": "build-request", "mountPath": str(SHARED / REQUEST), "readOnly": True},
            {"name": "build-result", "mountPath": str(SHARED / RESULT)},
            {"name": "build-work", "mountPath": _WORK},
            {"name": "build-tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
            {"name": "build-tmp", "mountPath": "/var/tmp"},  # noqa: S108 - likewise
        ],
    }


def builder_mounts() -> list[JSON]:
    """Return the step's own mounts of what it shares with the builder."""
    return [
        {"name": "build-request", "mountPath": str(SHARED / REQUEST)},
        {"name": "build-result", "mountPath": str(SHARED / RESULT), "readOnly": True},
    ]


def builder_volumes() -> list[JSON]:
    """Return the volumes of a pod with a builder."""
    return [{"name": f"build-{name}", "emptyDir": {}} for name in ("request", "result", "work", "tmp")]


def _source(path: str) -> str:
    return files("modelyard").joinpath(path).read_text(encoding="utf-8")
