"""A service's containers as plain values: its front, which holds the port, and a server of one release behind it."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from typing import Any

from modelyard import container_security
from modelyard.deployment.docker import front
from modelyard.deployment.target import ServiceSpec
from modelyard.quantity import billionths_of, bytes_of

JSON = dict[str, Any]

MANAGED, ROLE, PORT = "modelyard.io/managed-by", "modelyard.io/role", "modelyard.io/port"
GENERATION = "modelyard.io/generation"
IS_FRONT, IS_SERVER = "front", "server"

_MODEL, _ENVIRONMENT = "modelyard.io/model", "modelyard.io/environment"
_PYTHON = ("/opt/modelyard/server/bin/python", "-I", "-c")
_SOURCE = inspect.getsource(front)
_READY = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{front.PORT}/readyz', timeout=5)"
_SECOND = 10**9  # of Docker's durations
_TMP_BYTES = 256 << 20


@dataclass(frozen=True)
class Place:
    """Where a service is: all that belongs to it has these labels, and a name that begins with this one's."""

    model: str
    environment: str

    @property
    def name(self) -> str:
        """Of the front, of its volume, and of the network behind it; names have no dots, so no other service has it."""
        return f"modelyard.{self.environment}.{self.model}"

    @property
    def labels(self) -> dict[str, str]:
        """The labels of everything that belongs to it."""
        return {MANAGED: "modelyard", _MODEL: self.model, _ENVIRONMENT: self.environment}

    def host(self, generation: int) -> str:
        """Name the server of a generation, also in the network."""
        return f"{self.name}.g{generation}"


def command(name: str, *arguments: str) -> list[str]:
    """Return a command for the front."""
    return [*_PYTHON, _SOURCE, name, *arguments]


def front_container(place: Place, image: str, port: int) -> JSON:
    """Return the container that holds the port.

    Args:
        place: of the service.
        image: a model image, for the interpreter of its server; the first release's, for as long as the service is.
        port: of the host's loopback.
    """
    published = f"{front.PORT}/tcp"
    return {
        "Image": image,
        "Entrypoint": command("forward"),
        "Cmd": [],
        "User": container_security.OWNER,
        "Labels": {**place.labels, ROLE: IS_FRONT, PORT: str(port)},
        "ExposedPorts": {published: {}},
        "HostConfig": container_security.host_config()
        | {
            "Mounts": [{"Type": "volume", "Source": place.name, "Target": str(front.FOLDER)}],
            "PortBindings": {published: [{"HostIp": "127.0.0.1", "HostPort": str(port)}]},
            "RestartPolicy": {"Name": "unless-stopped"},
        },
    }


def server_container(place: Place, spec: ServiceSpec, image: str) -> JSON:
    """Return the container of a release: in the service's network alone, which leads nowhere."""
    facts = {
        "MODEL_NAME": spec.model,
        "MODEL_VERSION": str(spec.version),
        "RUN_ID": str(spec.run_id),
        "IMAGE_DIGEST": spec.image_digest,
    }
    limits: JSON = {}
    if spec.cpu:
        limits["NanoCpus"] = billionths_of(spec.cpu)
    if spec.memory:
        limits["Memory"] = limits["MemorySwap"] = bytes_of(spec.memory)
    return {
        "Image": image,
        "Cmd": ["--workers", str(spec.workers)],
        "Env": [f"MODELYARD_{name}={value}" for name, value in facts.items()],
        "User": container_security.OWNER,
        "Labels": {
            **place.labels,
            ROLE: IS_SERVER,
            GENERATION: str(spec.generation),
            "modelyard.io/version": str(spec.version),
            "modelyard.io/run-id": str(spec.run_id),
            "modelyard.io/image-digest": spec.image_digest,
        },
        "Healthcheck": {
            "Test": ["CMD", *_PYTHON, _READY],
            "Interval": 10 * _SECOND,
            "Timeout": 10 * _SECOND,
            "StartPeriod": int(spec.ready_timeout) * _SECOND,
            "Retries": 3,
        },
        "HostConfig": container_security.host_config()
        | limits
        | {
            "NetworkMode": place.name,
            "RestartPolicy": {"Name": "unless-stopped"},
            "Tmpfs": {"/tmp": f"rw,exec,nosuid,nodev,size={_TMP_BYTES}"},  # noqa: S108 - the container's own
        },
    }


def release(place: Place, spec: ServiceSpec) -> str:
    """Return what is written down of a release that is live, as JSON."""
    return json.dumps(
        {
            "host": place.host(spec.generation),
            "generation": spec.generation,
            "version": spec.version,
            "run_id": spec.run_id,
            "image_digest": spec.image_digest,
        }
    )
