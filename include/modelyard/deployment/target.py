"""What a deployment is asked for and what it answers, whatever it runs on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

JSON = dict[str, Any]


@dataclass(frozen=True)
class Autoscaling:
    """Replicas by load, where the target has more than one place for them.

    Attributes:
        max_replicas: the most there may be; ``replicas`` is the fewest.
        cpu: percent of what a replica asks for, above which there will be more.
    """

    max_replicas: int
    cpu: int


@dataclass(frozen=True)
class Ingress:
    """How clients outside of a cluster reach a service: see ``project.model.Ingress``."""

    host: str
    path: str = "/"
    class_name: str | None = None
    tls_secret: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where these clients ask."""
        return f"{'https' if self.tls_secret else 'http'}://{self.host}{self.path.rstrip('/')}"


@dataclass(frozen=True)
class Tracing:
    """Where a service sends a span a request: see ``project.model.Tracing``."""

    endpoint: str
    sample: float = 1.0

    def to_environment(self, environment: str) -> dict[str, str]:
        """Return what tells the server of it, as OpenTelemetry names it (Environment Variable Specification)."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
            "OTEL_RESOURCE_ATTRIBUTES": f"deployment.environment.name={environment}",
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": str(self.sample),
        }


@dataclass(frozen=True)
class PredictionLog:
    """What is kept of a service's answers, and where it goes: see ``project.model.PredictionLog``.

    Attributes:
        most_bytes: that may wait beside each server.
        prefix: of all that this model has answered in this environment, in the object store.
        destination: variables that tell the shipper of the object store, without a credential.
        needs_credential: it does not take everybody: where the shipper's own is kept, depends on the target.
        image: that has the shipper, for targets that run images; None where nobody has named it.
    """

    sample: float
    hide: tuple[str, ...]
    most_bytes: int
    seconds: int
    prefix: str
    destination: Mapping[str, str]
    needs_credential: bool
    image: str | None = None

    @classmethod
    def from_json(cls, value: JSON) -> PredictionLog:
        """Return the log that ``dataclasses.asdict`` has made this of, whatever JSON has made of that."""
        return cls(**{**value, "hide": tuple(value["hide"])})

    def settings(self, folder: str) -> str:
        """Return what the server is told, as JSON in ``MODELYARD_PREDICTION_LOG``."""
        told = {"sample": self.sample, "hide": self.hide, "most_bytes": self.most_bytes, "seconds": self.seconds}
        return json.dumps({"folder": folder, **told})


@dataclass(frozen=True)
class ServiceSpec:
    """One version that is to go live in an environment.

    Attributes:
        generation: grows with each pipeline run; a target refuses one that is older than what it serves.
        smoke: golden predictions, ``{"inputs": [row, …], "outputs": {name: [value, …]}}``: how it must answer.
        workers: processes with the model loaded, in each replica.
        replicas: servers side by side, where the target has more than one place for them.
        cpu, memory: what one replica gets, as Kubernetes quantities; None leaves it to the target.
        autoscaling: None for always ``replicas``.
        ingress: None for none.
        ready_timeout: seconds the version has to load its model and answer its golden rows.
        log: what is kept of its answers; None for nothing.
        tokens: where the target is a cluster: the Secret with what its clients have to send one of; None for none.
        tracing: where its traces go; None for nowhere.
    """

    model: str
    environment: str
    version: int
    run_id: int
    image_digest: str
    generation: int
    smoke: JSON = field(default_factory=dict)
    workers: int = 1
    replicas: int = 1
    cpu: str | None = None
    memory: str | None = None
    autoscaling: Autoscaling | None = None
    ingress: Ingress | None = None
    ready_timeout: float = 120.0
    log: PredictionLog | None = None
    tokens: str | None = None
    tracing: Tracing | None = None


@dataclass(frozen=True)
class Live:
    """What a target serves.

    Attributes:
        running: False when the service is known, but stopped or still starting.
    """

    model: str
    environment: str
    version: int
    run_id: int
    image_digest: str
    generation: int
    address: str
    running: bool


class Target(Protocol):
    """Where services run."""

    def deploy(self, spec: ServiceSpec, log: Callable[[str], None]) -> str:
        """Put a version live without a failed request and return the service's address.

        Once it has returned, no answer comes from an earlier version. The same again is done once only.

        Raises:
            DeploymentFailed: it did not come up, or failed its smoke test; what served before still does.
            Superseded: a newer generation is live.
            Unavailable: the target cannot be reached; a second try ends right.
        """

    def current(self, model: str, environment: str) -> Live | None:
        """Return what is live; None when nothing was ever deployed there."""

    def remove(self, model: str, environment: str) -> None:
        """End the service and forget it; no error when there is none."""
