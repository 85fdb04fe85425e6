"""Execution mode `kubernetes`: a step as a pod, images beside it as its side-cars; all as plain JSON.

The pod keeps the restricted Pod Security Standard. It reads its credentials from mounted Secrets, never from its
environment or its arguments, and only the steps that deploy have a token of the cluster.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from modelyard.credential_places import MOUNTED
from modelyard.deployment import ClusterAccess
from modelyard.errors import RequestError, StoreError
from modelyard.execution.command import Command, ImageBeside
from modelyard.steps.plan import DEPLOYING
from modelyard.store.address import StoreAddress

JSON = dict[str, Any]

STEP_ACCOUNT = "modelyard-step"
DEPLOYER_ACCOUNT = "modelyard-deployer"
CONTAINER = "base"  # as Airflow's pod operator names it

_USER = 65532  # of the runner and of every model image
_HOME = "/modelyard"
_FILE = "given"
_PORT = 8080
_LABEL = "modelyard.io"


@dataclass(frozen=True)
class Secrets:
    """Names of the Secrets that a step's pod mounts.

    Attributes:
        store: has the store's address.
        git: has the repository's user and token; only for the step that fetches the project.
        cluster: has the access to the cluster of a connection; only for the steps that deploy.
        elsewhere: that is another cluster than the pod's own, of which the step then needs no right.
    """

    store: str
    git: str | None = None
    cluster: str | None = None
    elsewhere: bool = False


def step_pod(
    command: Command, *, runner_image: str, secrets: Secrets, images_beside: Mapping[str, str], deadline_seconds: int
) -> JSON:
    """Return the manifest of the pod that runs ``command``.

    Args:
        command: the step.
        runner_image: by full name; the step runs in it unless the command names another one.
        secrets: the Secrets it mounts.
        images_beside: the full name of each image in ``command.beside``, by its name there.
        deadline_seconds: after these the cluster ends the pod, whether anybody still waits for it or not.
    """
    may_deploy = command.step in DEPLOYING and not secrets.elsewhere
    ports = {name: _PORT + index for index, name in enumerate(command.beside)}
    given = {"store": secrets.store, "git": secrets.git, "cluster": secrets.cluster}
    mounted = {name: secret for name, secret in given.items() if secret is not None}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"modelyard-{command.step.replace('_', '-')}-{command.pipeline_run[:8]}",
            "labels": {
                "app.kubernetes.io/name": "modelyard-step",
                "app.kubernetes.io/managed-by": "modelyard",
                f"{_LABEL}/step": command.step,
                f"{_LABEL}/pipeline-run": command.pipeline_run[:16],  # a label has at most 63 characters
            },
            "annotations": {f"{_LABEL}/pipeline-run": command.pipeline_run},
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": deadline_seconds,
            "serviceAccountName": DEPLOYER_ACCOUNT if may_deploy else STEP_ACCOUNT,
            "automountServiceAccountToken": may_deploy,  # nothing serves beside the steps that deploy
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "runAsGroup": _USER,
                "fsGroup": _USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "initContainers": [
                _beside(name, beside, images_beside[name], ports[name]) for name, beside in command.beside.items()
            ],
            "containers": [
                {
                    "name": CONTAINER,
                    "image": command.image or runner_image,
                    "args": _arguments(command, runner_image, mounted, ports),
                    "env": _environment({"HOME": _HOME, "MODELYARD_HOME": _HOME, "PYTHONUNBUFFERED": "1"}),
                    "resources": _resources(command.resources),
                    "securityContext": _confined(),
                    "volumeMounts": [
                        {"name": "home", "mountPath": _HOME},
                        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
                        *({"name": name, "mountPath": str(MOUNTED / name), "readOnly": True} for name in mounted),
                    ],
                }
            ],
            "volumes": [
                {"name": "home", "emptyDir": {}},
                {"name": "tmp", "emptyDir": {}},
                *({"name": f"tmp-{name}", "emptyDir": {}} for name in command.beside),
                *(
                    {"name": name, "secret": {"secretName": secret, "defaultMode": 0o440}}
                    for name, secret in mounted.items()
                ),
            ],
        },
    }


def _arguments(command: Command, runner_image: str, mounted: Mapping[str, str], ports: Mapping[str, int]) -> list[str]:
    arguments = ["step", command.step, "--pipeline-run", command.pipeline_run]
    arguments += ["--try-number", str(command.try_number), "--clear-number", str(command.clear_number)]
    for name, port in ports.items():
        arguments += ["--beside", f"{name}=http://127.0.0.1:{port}"]
    if command.step == "prepare":  # it lays the environment on it
        arguments += ["--runner-image", runner_image]
    arguments += ["--address", str(MOUNTED / "store" / _FILE)]
    for name in ("git", "cluster"):
        arguments += [f"--{name}", str(MOUNTED / name / _FILE)] if name in mounted else []
    return arguments


def _beside(name: str, beside: ImageBeside, image: str, port: int) -> JSON:
    """Return a native side-car: it starts before the step, and the cluster ends it when the step has ended."""
    told = {
        "MODELYARD_MODEL_NAME": beside.model,
        "MODELYARD_MODEL_VERSION": str(beside.version),
        "MODELYARD_IMAGE_DIGEST": beside.digest,
        "AIP_HTTP_PORT": str(port),
    }
    return {
        "name": f"beside-{name}",
        "image": image,
        "restartPolicy": "Always",
        "env": _environment(told),
        "securityContext": _confined(),
        "volumeMounts": [{"name": f"tmp-{name}", "mountPath": "/tmp"}],  # noqa: S108 - the pod's own
    }


def _confined() -> JSON:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _resources(quantities: Mapping[str, str]) -> JSON:
    """Ask for just what the step is limited to, so that no step takes another's on a full node."""
    return {"requests": dict(quantities), "limits": dict(quantities)} if quantities else {}


def _environment(variables: Mapping[str, str]) -> list[JSON]:
    return [{"name": name, "value": value} for name, value in variables.items()]


def address_secret(address: StoreAddress, conn_id: str) -> JSON:
    """Return the Secret with the store's address: what ``modelyard step --address FILE`` reads."""
    line = json.dumps({"address": address.to_json(), "git": None})
    return _secret(secret_name(conn_id, address.installation), conn_id, line)


def git_secret(credentials: tuple[str, str], conn_id: str, installation: str) -> JSON:
    """Return the Secret with a repository's user and token: what ``modelyard step --git FILE`` reads."""
    return _secret(secret_name(conn_id, installation), conn_id, json.dumps(credentials))


def cluster_secret(access: ClusterAccess, installation: str) -> JSON:
    """Return the Secret with a connection's access to a cluster: what ``modelyard step --cluster FILE`` reads."""
    return _secret(secret_name(access.conn_id, installation), access.conn_id, json.dumps(access.to_json()))


def secret_name(conn_id: str, installation: str) -> str:
    """Return the name of a connection's Secret: no other connection, of no other Airflow, has the same."""
    readable = re.sub(r"[^a-z0-9]+", "-", conn_id.lower()).strip("-")[:60]
    return f"modelyard-{readable}-{sha256(json.dumps([installation, conn_id]).encode()).hexdigest()[:8]}"


def _secret(name: str, conn_id: str, line: str) -> JSON:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/managed-by": "modelyard"},
            "annotations": {f"{_LABEL}/connection": conn_id},
        },
        "type": "Opaque",
        "data": {_FILE: b64encode(f"{line}\n".encode()).decode()},
    }


def check_source(source: Mapping[str, str]) -> None:
    """Refuse a project that is a folder of this very machine.

    Raises:
        RequestError: it is one.
    """
    if "folder" in source:
        raise RequestError(
            f"No pod can read the folder {source['folder']}",
            "put the project into a Git repository and enter that: modelyard lock --git URL --into FOLDER",
        )


def check_target(environment: str, target: str) -> None:
    """Refuse to deploy to the machine that a step runs on: of a pod, that is gone when the step has ended.

    Raises:
        RequestError: the environment's target is that machine.
    """
    if target == "local":
        raise RequestError(
            f"Environment '{environment}' has the target 'local', and a pod's services would end with it",
            f"write `target: kubernetes` under deployment.environments.{environment} of model.yaml",
        )


def check_reachable(address: StoreAddress, conn_id: str) -> None:
    """Refuse a store of which a part is on this very machine: a pod would look for it in itself.

    Raises:
        StoreError: naming the part.
    """
    remedy = f"correct the connection '{conn_id}': a pod needs"
    if address.artifacts.startswith("file:"):
        raise StoreError(f"No pod can reach the artifacts at '{address.artifacts}'", f"{remedy} s3://bucket/prefix")
    if address.registry.startswith("oci:"):
        raise StoreError(f"No pod can reach the registry '{address.registry}'", f"{remedy} host:port/prefix")
    places = {
        "database": [f"//{host}" for host in address.mongo_hosts.split(",")],
        "registry": [f"//{address.registry.removeprefix('https://')}"],
        "artifacts": [address.s3_endpoint_url] if address.s3_endpoint_url else [],
    }
    for what, urls in places.items():
        for host in (urlsplit(url).hostname or "" for url in urls):
            if host in ("localhost", "::1") or host.startswith("127."):
                raise StoreError(f"No pod can reach the {what} at '{host}'", f"{remedy} an address of the network")
