"""``serving`` and ``image`` of model.yaml: how the model answers, and the image that it does so from."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from modelyard.project.section import Section
from modelyard.project.values import Cpu, Memory


class Resources(Section):
    """What one container asks for and is limited to."""

    cpu: Cpu | None = Field(default=None, description="Cores, as a Kubernetes quantity.", examples=["1", "500m"])
    memory: Memory | None = Field(default=None, description="Bytes, as a Kubernetes quantity.", examples=["1Gi"])


class Autoscaling(Section):
    """More replicas while the model is busy, as many as `replicas` when it is not."""

    max_replicas: int = Field(ge=2, le=1000, description="The most replicas there may be.", examples=[6])
    cpu: int = Field(
        default=80,
        ge=1,
        le=100,
        description="Percent of `resources.cpu` in use, on average, above which replicas are added.",
    )


class PredictionLog(Section):
    """What is kept of each answer: read back by `modelyard predictions` and by what watches the model."""

    sample: float = Field(default=1.0, gt=0, le=1, description="The share of the answers that is kept, by chance.")
    hide: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), strict=False, description="Inputs and outputs whose values are not kept.", examples=[["name"]]
    )
    disk: Memory = Field(
        default="1Gi",
        description="Bytes that may wait beside each server to be sent to the object store; what would go beyond is "
        "not kept.",
    )
    seconds: int = Field(
        default=60, ge=1, le=3600, description="After how many seconds they are sent, when they are not many."
    )


class Serving(Section):
    """How the model answers."""

    workers: int = Field(default=1, ge=1, le=64, description="Processes that predict side by side, in each replica.")
    replicas: int = Field(default=1, ge=1, le=100, description="Servers side by side, where the target is a cluster.")
    resources: Resources = Field(
        default_factory=Resources, description="What one replica may use, where the target is a cluster."
    )
    autoscaling: Autoscaling | None = Field(
        default=None, description="Where the target is a cluster: add replicas by load; null: always `replicas`."
    )
    prediction_log: PredictionLog | None = Field(
        default=None, description="What is kept of each answer, and that feedback is taken; null: neither."
    )

    @model_validator(mode="after")
    def _autoscaling_can_measure(self) -> Self:
        if self.autoscaling is None:
            return self
        if self.resources.cpu is None:
            raise ValueError("`autoscaling` needs `resources.cpu`: without it there is nothing to take a percentage of")
        if self.autoscaling.max_replicas <= self.replicas:
            raise ValueError("`autoscaling.max_replicas` is not more than `replicas`: nothing could ever be added")
        return self


class ModelImage(Section):
    """The image that a version is served from."""

    platforms: tuple[Literal["linux/amd64", "linux/arm64"], ...] = Field(
        default=(),
        strict=False,
        description="What machines it is for, where each locked package has a wheel; the pipeline runs on one of them, "
        "which the image is tested on. None named: the machine that the pipeline runs on.",
        examples=[["linux/amd64", "linux/arm64"]],
    )

    @field_validator("platforms")
    @classmethod
    def _each_once(cls, platforms: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(platforms)) < len(platforms):
            raise ValueError("a platform is named twice")
        return platforms
