"""Execution mode `kubernetes`: a step as a pod, images beside it as its side-cars; all as plain JSON.

The pod keeps the restricted Pod Security Standard, unless it builds a project's Dockerfile (``project_container``).
It reads its credentials from mounted Secrets, never from its environment or its arguments, and only the steps that
deploy have a token of the cluster.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelyard import pod_security
from modelyard.client.confine import FOR_THE_COMMAND
from modelyard.credential_places import MOUNTED
from modelyard.errors import RequestError
from modelyard.execution.command import Command, ImageBeside, ProjectImage
from modelyard.execution.pod_template import merged
from modelyard.execution.project_container import (
    SHARED,
    builder_container,
    builder_mounts,
    builder_volumes,
    project_container,
)
from modelyard.steps.plan import DEPLOYING

JSON = dict[str, Any]

STEP_ACCOUNT = "modelyard-step"
DEPLOYER_ACCOUNT = "modelyard-deployer"
CONTAINER = "base"  # as Airflow's pod operator names it
OURS = "modelyard-"  # so begins the name of a Secret that no project can ask for

_HOME = "/modelyard"
_PORT = 8080
_LABEL = "modelyard.io"
_REFERENCE = re.compile(r"(?<!\$)\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


@dataclass(frozen=True)
class Secrets:
    """Names of Modelyard's own Secrets that a step's pod uses.

    Attributes:
        store: has the store's address.
        git: has the repository's user and token; only for the step that fetches the project.
        pull: opens the store's registry to the node.
        cluster: has the access to the cluster of a connection; only for the steps that deploy.
        signing: has the signing key; only for the step that signs.
        elsewhere: that is another cluster than the pod's own, of which the step then needs no right.
    """

    store: str
    git: str | None = None
    pull: str | None = None
    cluster: str | None = None
    signing: str | None = None
    elsewhere: bool = False


@dataclass(frozen=True)
class Builder:
    """What builds the Dockerfiles of projects.

    Attributes:
        image: with Buildah.
        seccomp_profile: see ``project_container.builder_container``.
    """

    image: str
    seccomp_profile: str | None = None


def step_pod(
    command: Command,
    *,
    runner_image: str,
    secrets: Secrets,
    images_beside: Mapping[str, str],
    deadline_seconds: int,
    gpu_resource: str = "nvidia.com/gpu",
    builder: Builder | None = None,
    template: Mapping[str, Any] | None = None,
) -> JSON:
    """Return the manifest of the pod that runs ``command``.

    Args:
        command: the step.
        runner_image: by full name; the step runs in it unless the command names another one.
        secrets: the Secrets it mounts.
        images_beside: the full name of each image in ``command.beside``, by its name there.
        deadline_seconds: after these the cluster ends the pod, whether anybody still waits for it or not.
        gpu_resource: what the cluster calls a GPU.
        builder: builds the project's Dockerfile beside the step; None where there is nothing to build.
        template: an administrator's, see ``pod_template``.

    Raises:
        RequestError: the project asks for a Secret of Modelyard's own.
    """
    _check_secrets(command.pod, secrets)
    may_deploy = command.step in DEPLOYING and not secrets.elsewhere
    ports = {name: _PORT + index for index, name in enumerate(command.beside)}
    given = {"store": secrets.store, "git": secrets.git, "cluster": secrets.cluster, "signing": secrets.signing}
    mounted = {name: secret for name, secret in given.items() if secret is not None}
    asked = command.pod
    scheduling = ("nodeSelector", "affinity", "tolerations", "priorityClassName")
    pull_secrets = [*([{"name": secrets.pull}] if secrets.pull else []), *asked.get("imagePullSecrets", ())]
    resources = _resources(command.resources, gpu_resource)
    # What is the project's own goes to its code: to the step's child, or into the container that runs it.
    own: Mapping[str, Any] = {} if command.project else asked
    variables = {"HOME": _HOME, "MODELYARD_HOME": _HOME, "PYTHONUNBUFFERED": "1"}
    pod = {
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
            "serviceAccountName": asked.get("serviceAccountName", DEPLOYER_ACCOUNT if may_deploy else STEP_ACCOUNT),
            "automountServiceAccountToken": may_deploy,  # nothing serves beside the steps that deploy
            "imagePullSecrets": pull_secrets,
            **{key: asked[key] for key in scheduling if asked.get(key)},
            "enableServiceLinks": False,
            "securityContext": pod_security.of_pod(owns_volumes=True),
            "initContainers": [
                *(_beside(name, beside, images_beside[name], ports[name]) for name, beside in command.beside.items()),
                *([builder_container(builder.image, builder.seccomp_profile, resources)] if builder else []),
                *([_project(command.project, asked, resources)] if command.project else []),
            ],
            "containers": [
                {
                    "name": CONTAINER,
                    "image": command.image or runner_image,
                    "args": [
                        *_arguments(command, runner_image, mounted, ports),
                        *(["--builder", str(SHARED)] if builder else []),
                    ],
                    "env": [*_environment(variables), *_variables(own)],
                    "envFrom": _variable_sources(own),
                    "resources": {} if command.project or builder else resources,
                    "securityContext": pod_security.of_container(),
                    "volumeMounts": [
                        {"name": "home", "mountPath": _HOME},
                        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
                        *({"name": name, "mountPath": str(MOUNTED / name), "readOnly": True} for name in mounted),
                        *(builder_mounts() if builder else []),
                        *_renamed(own.get("volumeMounts", ())),
                    ],
                }
            ],
            "volumes": [
                {"name": "home", "emptyDir": {}},
                {"name": "tmp", "emptyDir": {}},
                *({"name": f"tmp-{name}", "emptyDir": {}} for name in command.beside),
                *(builder_volumes() if builder else []),
                *(
                    {"name": name, "secret": {"secretName": secret, "defaultMode": 0o440}}
                    for name, secret in mounted.items()
                ),
                *_renamed(asked.get("volumes", ())),
            ],
        },
    }
    return merged(dict(template), pod) if template else pod


def _check_secrets(pod: Mapping[str, Any], secrets: Secrets) -> None:
    """Refuse a project that would read what its code must not see; what begins as ours does is another run's."""
    for name in _secrets_read(pod):
        if name.startswith(OURS) or name in (
            secrets.store,
            secrets.git,
            secrets.pull,
            secrets.cluster,
            secrets.signing,
        ):
            raise RequestError(
                f"The project asks for the Secret '{name}', which holds credentials of Modelyard's own",
                "take it out of `steps` in model.yaml: a project's code gets none of them",
            )


def _secrets_read(value: Any) -> Iterator[str]:
    """Yield the name of each Secret that a project's variables and volumes refer to."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in ("secretKeyRef", "secretRef"):
                yield item["name"]
            elif key == "secretName":
                yield item
            else:
                yield from _secrets_read(item)
    elif isinstance(value, list):
        for item in value:
            yield from _secrets_read(item)


def _variables(asked: Mapping[str, Any]) -> list[JSON]:
    """Return the project's variables under names that are none of the step's own process: it has credentials."""
    known = {variable["name"] for variable in asked.get("env", ())}

    def reference(match: re.Match[str]) -> str:
        return f"$({FOR_THE_COMMAND}{match[1]})" if match[1] in known else match[0]

    return [
        variable
        | {"name": FOR_THE_COMMAND + variable["name"]}
        | ({"value": _REFERENCE.sub(reference, variable["value"])} if "value" in variable else {})
        for variable in asked.get("env", ())
    ]


def _variable_sources(asked: Mapping[str, Any]) -> list[JSON]:
    return [source | {"prefix": FOR_THE_COMMAND + source.get("prefix", "")} for source in asked.get("envFrom", ())]


def _renamed(volumes: Iterable[JSON]) -> list[JSON]:
    """Return a project's volumes, or their mounts, under names that none of ours has."""
    return [volume | {"name": f"project-{volume['name']}"} for volume in volumes]


def _arguments(command: Command, runner_image: str, mounted: Mapping[str, str], ports: Mapping[str, int]) -> list[str]:
    arguments = command.arguments({name: f"http://127.0.0.1:{port}" for name, port in ports.items()})
    if command.step in ("prepare", *DEPLOYING):  # it lays the environment on it; there a shipper may run in it
        arguments += ["--runner-image", runner_image]
    for name in mounted:
        arguments += [f"--{'address' if name == 'store' else name}", str(MOUNTED / name)]
    return arguments


def _beside(name: str, beside: ImageBeside, image: str, port: int) -> JSON:
    """Return a native side-car: it starts before the step, and the cluster ends it when the step has ended."""
    return {
        "name": f"beside-{name}",
        "image": image,
        "restartPolicy": "Always",
        "env": _environment(beside.variables(port)),
        "securityContext": pod_security.of_container(),
        "volumeMounts": [{"name": f"tmp-{name}", "mountPath": "/tmp"}],  # noqa: S108 - the pod's own
    }


def _project(image: ProjectImage, asked: Mapping[str, Any], resources: JSON) -> JSON:
    container = project_container(image, _HOME, dict(asked), resources)
    container["volumeMounts"] += _renamed(asked.get("volumeMounts", ()))
    return container


def _resources(quantities: Mapping[str, str], gpu_resource: str) -> JSON:
    """Ask for just what the step is limited to, so that no step takes another's on a full node."""
    names = {"ephemeral_storage": "ephemeral-storage", "gpu": gpu_resource}
    named = {names.get(name, name): quantity for name, quantity in quantities.items()}
    return {"requests": dict(named), "limits": named} if named else {}


def _environment(variables: Mapping[str, str]) -> list[JSON]:
    return [{"name": name, "value": value} for name, value in variables.items()]


def check_target(environment: str, target: str) -> None:
    """Refuse to deploy to what a pod does not have: services of its own end with it, and it has no Docker engine.

    Raises:
        RequestError: the environment's target is one of these.
    """
    why = {"local": "a pod's services would end with it", "docker": "no pod reaches a Docker engine"}.get(target)
    if why is not None:
        raise RequestError(
            f"Environment '{environment}' has the target '{target}', and {why}",
            f"write `target: kubernetes` under deployment.environments.{environment} of model.yaml",
        )
