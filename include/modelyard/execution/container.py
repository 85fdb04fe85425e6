"""A step as a container, what is beside it as other ones; all as the Engine API's JSON.

The step's credentials come by its standard input: what ``docker inspect`` tells of it has none. Whatever it writes goes
to one volume at /tmp, on the disk and not in memory, and is gone with the container. An image beside it is in no other
network than theirs, which leads nowhere, and has nothing else but the model. The image of a project's own Dockerfile
has the step's volume and its network, and no credential. An engine knows no deadline: what is in a container keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard import container_security
from modelyard.client.stand_in import FOLDER, SOCKET
from modelyard.errors import RequestError
from modelyard.execution.command import Command, ImageBeside, ProjectImage
from modelyard.execution.project_container import starting
from modelyard.quantity import billionths_of, bytes_of
from modelyard.steps.plan import DEPLOYING

JSON = dict[str, Any]

RUN, STEP, GROUP, ROLE = "modelyard.io/pipeline-run", "modelyard.io/step", "modelyard.io/group", "modelyard.io/role"
TRY, CLEAR = "modelyard.io/try", "modelyard.io/clear"
IS_STEP, IS_BESIDE, IS_PROJECT = "step", "beside", "project"

_SCRATCH = "/tmp"  # noqa: S108 - the container's own; in every image a folder for all users, so its volume is, too
_HOME = f"{_SCRATCH}/modelyard"
_PORT = 8080


def step_container(
    command: Command,
    group: str,
    *,
    runner_image: str,
    network: str,
    deadline_seconds: int,
    told: Mapping[str, str],
) -> JSON:
    """Return the container that runs ``command``.

    Args:
        command: the step.
        group: what the step's container, those beside it and their network have in common.
        runner_image: by full name; the step runs in it unless the command names another one.
        network: by which it reaches the store.
        deadline_seconds: after these it ends itself.
        told: labels for people.
    """
    arguments = command.arguments({name: f"http://{name}:{_PORT}" for name in command.beside})
    if command.step in ("prepare", *DEPLOYING):
        arguments += ["--runner-image", runner_image]
    limits = {} if command.project else _limits(command.resources)
    return {
        "Image": command.image or runner_image,
        "Cmd": [*arguments, "--address", "-", "--deadline", str(deadline_seconds)],
        "Env": [f"HOME={_HOME}", f"MODELYARD_HOME={_HOME}", "PYTHONUNBUFFERED=1"],
        "User": container_security.OWNER,
        "Labels": {
            **told,
            **labels(command, group, IS_STEP),
            TRY: str(command.try_number),
            CLEAR: str(command.clear_number),
        },
        "OpenStdin": True,
        "StdinOnce": True,  # whoever hands on the credentials may die: the step sees the end of its input
        "AttachStdin": True,
        "Volumes": {_SCRATCH: {}},
        "HostConfig": container_security.host_config() | {"NetworkMode": network} | limits,
    }


def project_container(
    command: Command, group: str, image: ProjectImage, *, step: str, network: str, deadline_seconds: int
) -> JSON:
    """Return the container in which a project's code runs: the image as it is, and what the step has at /tmp.

    Args:
        command: of the step; its resources are for this one, as the step itself needs little.
        group: of the step.
        image: the project's own.
        step: id of the step's container, which has been created.
        network: the step's.
        deadline_seconds: after these it ends itself.
    """
    host = container_security.host_config() | {"NetworkMode": network, "VolumesFrom": [step]}
    return {
        "Image": image.reference,
        "Entrypoint": [*starting(image.python, f"{_HOME}/{FOLDER}/{SOCKET}"), str(deadline_seconds)],
        "Cmd": [],
        "User": container_security.OWNER,
        "Labels": labels(command, group, IS_PROJECT),
        "HostConfig": host | _limits(command.resources),
    }


def container_beside(
    command: Command, group: str, name: str, beside: ImageBeside, image: str, *, deadline_seconds: int
) -> JSON:
    """Return the container of an image beside a step.

    Args:
        command: of the step.
        group: also the name of their network.
        name: by which the step knows it, its host name there.
        beside: what it serves.
        image: its full name.
        deadline_seconds: after these it ends itself.
    """
    variables = beside.variables(_PORT) | {"MODELYARD_DEADLINE_SECONDS": str(deadline_seconds)}
    return {
        "Image": image,
        "Env": [f"{key}={value}" for key, value in variables.items()],
        "User": container_security.OWNER,
        "Labels": labels(command, group, IS_BESIDE),
        "Volumes": {_SCRATCH: {}},
        "HostConfig": container_security.host_config() | {"NetworkMode": group},
        "NetworkingConfig": {"EndpointsConfig": {group: {"Aliases": [name]}}},
    }


def labels(command: Command, group: str, role: str) -> dict[str, str]:
    """Return by what the containers of a step are found again."""
    return {RUN: command.pipeline_run, STEP: command.step, GROUP: group, ROLE: role}


def check_target(environment: str, settings: Mapping[str, Any]) -> None:
    """Refuse to deploy, from a container, to what it does not have.

    Raises:
        RequestError: that is the environment's target.
    """
    key = f"deployment.environments.{environment} of model.yaml"
    if settings["target"] == "local":
        raise RequestError(
            f"Environment '{environment}' has the target 'local', and a container's services would end with it",
            f"write `target: docker` under {key}",
        )
    if settings["target"] == "kubernetes" and not settings.get("cluster"):
        raise RequestError(
            f"Environment '{environment}' is in a cluster that nobody has named, and a container is in none",
            f"write `cluster: CONNECTION` under {key}: an Airflow connection of type kubernetes",
        )


def _limits(quantities: Mapping[str, str]) -> JSON:
    limits: JSON = {}
    if "cpu" in quantities:
        limits["NanoCpus"] = billionths_of(quantities["cpu"])
    if "memory" in quantities:  # of swap there is none: a step that takes too much is ended, and says so
        limits["Memory"] = limits["MemorySwap"] = bytes_of(quantities["memory"])
    if "gpu" in quantities:
        limits["DeviceRequests"] = [{"Driver": "", "Count": int(quantities["gpu"]), "Capabilities": [["gpu"]]}]
    return limits
