"""``deployment`` of model.yaml: the places that versions go to."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from modelyard.project.pod import ObjectName
from modelyard.project.section import Section
from modelyard.project.values import LowerCaseName


class Ingress(Section):
    """How clients outside the cluster reach the service."""

    host: str = Field(
        pattern=r"^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$",
        max_length=253,
        description="The name that clients ask.",
        examples=["wine.example.com"],
    )
    path: str = Field(
        default="/",
        pattern=r"^/\S*$",
        description="What paths begin with. One that is not `/` has to be taken off by the controller: `annotations`.",
    )
    class_name: ObjectName | None = Field(
        default=None, description="The IngressClass; null: the cluster's default.", examples=["nginx"]
    )
    tls_secret: ObjectName | None = Field(
        default=None, description="The Secret with the host's certificate, in the namespace; null: plain HTTP."
    )
    annotations: dict[str, str] = Field(default_factory=dict, description="What the ingress controller is told.")


class Tracing(Section):
    """Where a service sends its traces."""

    endpoint: str = Field(
        pattern=r"^https?://[^\s/@]+(/\S*)?$",
        description="The address at which a collector takes OTLP over HTTP; the port is the collector's own.",
        examples=["http://collector.observability:4318"],
    )
    sample: float = Field(
        default=1.0, ge=0.0, le=1.0, description="Part of the requests that are traced, of those that bring no trace."
    )


class Environment(Section):
    """One place a version is deployed to; the alias of the same name is the version live there."""

    target: Literal["local", "docker", "kubernetes"] = Field(
        default="local",
        description="What runs the service there: this machine, a Docker engine, or a Kubernetes cluster.",
    )
    namespace: LowerCaseName | None = Field(
        default=None,
        description="Of target `kubernetes`: the namespace, which must exist. null: the one named as the environment.",
        examples=["team-production"],
    )
    cluster: str | None = Field(
        default=None,
        pattern=r"^\S+$",
        description="Of target `kubernetes`: the Airflow connection of type `kubernetes` to the cluster. "
        "null: the one that the steps run in, else the one of KUBECONFIG.",
        examples=["production_cluster"],
    )
    ingress: Ingress | None = Field(
        default=None, description="Of target `kubernetes`: an Ingress, for clients outside the cluster; null: none."
    )
    tokens: ObjectName | None = Field(
        default=None,
        description="Of target `kubernetes`: the Secret in the namespace whose key `tokens` holds, one a line, what "
        "clients have to send one of. null: whoever reaches the service is answered.",
        examples=["wine-clients"],
    )
    tracing: Tracing | None = Field(
        default=None, description="Send a span a request to an OpenTelemetry collector; null: none."
    )
    protected: bool = Field(
        default=False,
        description="Refuse versions with uncommitted code, other packages than locked, or no evaluation data.",
    )
    approval: bool = Field(default=False, description="A person says yes or no in Airflow before each deployment.")

    @model_validator(mode="after")
    def _only_a_cluster_has_these(self) -> Self:
        given = [name for name in ("cluster", "ingress", "tokens") if getattr(self, name) is not None]
        if self.target != "kubernetes" and given:
            raise ValueError(f"`{given[0]}` is of `target: kubernetes`; this environment's is another")
        if self.target == "docker" and self.tracing is not None:
            raise ValueError("`tracing` is not of `target: docker`: a service there reaches no collector")
        return self


class Deployment(Section):
    """Where versions go."""

    environment: str = Field(default="production", description="Where a version goes when nobody says otherwise.")
    environments: dict[LowerCaseName, Environment] = Field(
        default_factory=lambda: {"production": Environment()},
        min_length=1,
        description="The environments there are, by name.",
    )

    @model_validator(mode="after")
    def _default_exists(self) -> Self:
        if self.environment not in self.environments:
            raise ValueError(
                f"`environment` is '{self.environment}', but `environments` has only {', '.join(self.environments)}"
            )
        return self
