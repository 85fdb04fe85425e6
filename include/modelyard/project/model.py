"""``model.yaml`` as pydantic models: every key, what it means and what it accepts. Large sections have own modules.

The JSON Schema that editors use (``model.schema.json``) and the reference in the examples' README are made from these
classes, so a description here is what a user reads. A :class:`Project` is frozen: it is resolved once, by
:func:`modelyard.project.load`, and never changed.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from modelyard.project.deployment import Deployment
from modelyard.project.pod import Pod
from modelyard.project.schedule import Schedule
from modelyard.project.section import Section
from modelyard.project.serving import ModelImage, Resources, Serving
from modelyard.project.values import RESERVED, LowerCaseName, Memory, RelativePath, check_not_reserved, check_uri
from modelyard.steps.plan import BY_NAME, STEPS
from modelyard.validation.metrics import METRICS

DOCKERFILE = "Dockerfile"

ModelName = Annotated[LowerCaseName, AfterValidator(check_not_reserved)]
DataName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


def _check_tag(tag: str) -> str:
    if not tag.strip() or len(tag) > 100:  # the length of Airflow's column for a tag
        raise ValueError("a tag has 1 to 100 characters")
    return tag


class Owner(Section):
    """Who answers for the model; shown on the DAG."""

    name: str = Field(min_length=1, description="A person's or team's name.", examples=["Data team"])
    url: str | None = Field(
        default=None,
        pattern=r"^(https?://|mailto:)\S+$",
        description="Where the owner is reached: an http(s) or mailto address.",
        examples=["mailto:data@example.com"],
    )


class DataSet(Section):
    """One data set: fetched, fingerprinted and checked before training, handed to the experiment as ``data.<name>``."""

    uri: Annotated[str, AfterValidator(check_uri)] = Field(
        description="Where it is: a path inside the project, or a file:, http(s): or s3: address.",
        examples=["data/houses.csv", "s3://bucket/houses.csv"],
    )
    role: Literal["train", "evaluation"] = Field(
        default="train", description="What it is for: `train`, or `evaluation` (metrics and gates are scored on it)."
    )
    target: str | None = Field(
        default=None, min_length=1, description="The column to predict. Evaluation data need one.", examples=["price"]
    )

    @model_validator(mode="after")
    def _evaluation_has_a_target(self) -> Self:
        if self.role == "evaluation" and self.target is None:
            raise ValueError("evaluation data without `target` cannot score a model")
        return self


class MetricGate(Section):
    """What a metric on the evaluation data must reach, or nothing is deployed."""

    min: float | None = Field(default=None, description="The lowest value accepted.", examples=[0.9])
    max: float | None = Field(default=None, description="The highest value accepted.", examples=[25000.0])
    tolerance: float | None = Field(
        default=None,
        ge=0,
        description="How much worse than the version in production, scored on the same data, is still accepted.",
        examples=[0.01],
    )

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if self.min is None and self.max is None and self.tolerance is None:
            raise ValueError("the gate has none of `min`, `max` and `tolerance`: it would let everything pass")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("`min` is greater than `max`: nothing can pass")
        return self


class Validation(Section):
    """What a version must pass before it is packaged."""

    metrics: dict[Literal[tuple(METRICS)], MetricGate] = Field(  # type: ignore[valid-type]
        default_factory=dict, description=f"Gates by metric name: {', '.join(f'`{name}`' for name in METRICS)}."
    )
    critical: RelativePath | None = Field(
        default=None,
        description="A file of predictions that must never change for the worse; `critical.jsonl` when that exists.",
    )


class StepResources(Resources):
    """What one step asks for and is limited to, where steps are pods."""

    ephemeral_storage: Memory | None = Field(
        default=None, description="Bytes on the node's disk, as a Kubernetes quantity.", examples=["20Gi"]
    )
    gpu: int | None = Field(
        default=None, ge=1, description="GPUs, of the kind that Airflow's configuration names.", examples=[1]
    )

    def quantities(self) -> dict[str, str]:
        """Return what is asked for, by name."""
        return {name: str(quantity) for name, quantity in self.model_dump(exclude_none=True).items()}


class Step(Section):
    """How one step of the pipeline runs, where steps are pods."""

    resources: StepResources = Field(default_factory=StepResources, description="What it asks for and is limited to.")
    defer: bool = Field(
        default=False,
        description="Wait for the pod in Airflow's triggerer and not in a worker: for trainings of many minutes.",
    )
    pod: Pod = Field(default_factory=Pod, description="What its pod is given, as Kubernetes writes it.")


class Project(Section):
    """A model project: everything its model.yaml says, defaults filled in."""

    name: ModelName = Field(
        description="Name of the model, its DAG, image and service: 2 to 40 lower-case letters, digits, hyphens; "
        f"none that begins with `{RESERVED}`.",
        examples=["wine"],
    )
    description: str = Field(default="", description="What the model predicts, in a sentence.")
    owner: Owner | None = Field(default=None, description="Who answers for the model; shown on the DAG.")
    tags: tuple[Annotated[str, AfterValidator(_check_tag)], ...] = Field(
        default=(), strict=False, description="Tags of the DAG and of each version."
    )
    entry: Annotated[RelativePath, Field(pattern=r"\.(py|ipynb)$")] = Field(
        default="train.py", description="The Sacred experiment: a Python file or a notebook."
    )
    lock: RelativePath | None = Field(
        default=None,
        description="Pipfile.lock, pylock.toml, uv.lock or requirements.txt; found when there is just one of them.",
    )
    dockerfile: RelativePath | None = Field(
        default=None,
        description="The project's own image build, to be trained and served in instead of in a locked environment; "
        f"`{DOCKERFILE}` when there is one.",
    )
    seed: int = Field(default=42, ge=0, lt=2**32, description="The seed of each run, unless the run is given another.")
    schedule: Schedule | None = Field(
        default=None,
        description="When to train again: a cron expression or preset, an asset or a timetable; null: only when asked.",
        examples=["0 3 * * *", {"asset": "s3://bucket/houses.csv"}],
    )
    data: dict[DataName, DataSet] = Field(
        default_factory=dict, description="Data sets by name; the experiment finds each one's local path in its config."
    )
    validation: Validation = Field(
        default_factory=Validation, description="What a version must pass before it is packaged."
    )
    image: ModelImage = Field(default_factory=ModelImage, description="The image that a version is served from.")
    serving: Serving = Field(default_factory=Serving, description="How the model answers.")
    deployment: Deployment = Field(default_factory=Deployment, description="Where versions go.")
    steps: dict[Literal[tuple(step.name for step in STEPS)], Step] = Field(  # type: ignore[valid-type]
        default_factory=dict,
        description=f"How single steps run, by step: {', '.join(f'`{step.name}`' for step in STEPS)}.",
    )
    retries: int = Field(
        default=2, ge=0, le=20, description="How often Airflow tries a step again that failed for a passing reason."
    )

    @field_validator("steps")
    @classmethod
    def _only_the_projects_code_has_variables(cls, steps: dict[str, Step]) -> dict[str, Step]:
        for name, step in steps.items():
            if (step.pod.env or step.pod.envFrom) and BY_NAME[name].image != "environment":
                with_code = " and ".join(f"`{one.name}`" for one in STEPS if one.image == "environment")
                raise ValueError(f"`{name}` runs no code of the project: variables belong to {with_code}")
        return steps

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON types: ``Project.model_validate`` of that gives an equal project."""
        content = self.model_dump(mode="json")
        # As before there were such keys, so that no lock is stale.
        if self.dockerfile is None:
            del content["dockerfile"]
        if not self.image.platforms:
            del content["image"]
        return content
