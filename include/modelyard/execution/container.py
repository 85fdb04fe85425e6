"""A step as a container, an image beside it as another one in a network of their own; all as the Engine API's JSON.

The step's credentials come by its standard input: what ``docker inspect`` tells of it has none. Whatever it writes goes
to one volume at /tmp, on the disk and not in memory, and is gone with the container. The image beside it is in no other
network than theirs, which leads nowhere, and has nothing else but the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard import container_security
from modelyard.errors import RequestError
from modelyard.execution.command import Command, ImageBeside
from modelyard.quantity import billionths_of, bytes_of
from modelyard.steps.plan import DEPLOYING

JSON = dict[str, Any]

RUN, STEP, GROUP, ROLE = "modelyard.io/pipeline-run", "modelyard.io/step", "modelyard.io/group", "modelyard.io/role"
TRY, CLEAR = "modelyard.io/try", "modelyard.io/clear"
IS_STEP, IS_BESIDE = "step", "beside"

_SCRATCH = "/tmp"  # noqa: S108 - the container's own; in every image a folder for all users, so its volume is, too
_HOME = f"{_SCRATCH}/modelyard"
_PORT = 8080


def step_container(command: Command, group: str, *, runner_image: str, network: str, told: Mapping[str, str]) -> JSON:
    """Return the container that runs ``command``.

    Args:
        command: the step.
        group: what the step's container, those beside it and their network have in common.
        runner_image: by full name; the step runs in it unless the command names another one.
        network: by which it reaches the store.
        told: labels for people.
    """
    arguments = command.arguments({name: f"http://{name}:{_PORT}" for name in command.beside})
    if command.step in ("prepare", *DEPLOYING):
        arguments += ["--runner-image", runner_image]
    return {
        "Image": command.image or runner_image,
        "Cmd": [*arguments, "--address", "-"],
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
        "HostConfig": container_security.host_config() | {"NetworkMode": network} | _limits(command.resources),
    }


def container_beside(command: Command, group: str, name: str, beside: ImageBeside, image: str) -> JSON:
    """Return the container of an image beside a step.

    Args:
        command: of the step.
        group: also the name of their network.
        name: by which the step knows it, its host name there.
        beside: what it serves.
        image: its full name.
    """
    return {
        "Image": image,
        "Env": [f"{key}={value}" for key, value in beside.variables(_PORT).items()],
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
