"""``model.yaml`` as pydantic models: every key, what it means and what it accepts.

The JSON Schema that editors use (``model.schema.json``) and the reference in the examples' README are made from these
classes, so a description here is what a user reads. A :class:`Project` is frozen: it is resolved once, by
:func:`modelyard.project.load`, and never changed.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from modelyard.project.pod import ObjectName, Pod
from modelyard.project.schedule import check_cron, check_timetable
from modelyard.project.section import Section
from modelyard.quantity import check_bytes, check_cpu
from modelyard.steps.plan import BY_NAME, STEPS
from modelyard.validation.metrics import METRICS

RESERVED = "modelyard-"  # modelyard-rollback is a DAG already
DOCKERFILE = "Dockerfile"
SCHEMES = ("file", "http", "https", "s3")


def _number_as_text(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value


def check_uri(uri: str) -> str:
    """Return the address of data when it may be used as one, else raise ValueError, which shows no credential."""
    parts = urlsplit(uri)
    if parts.scheme and parts.scheme not in SCHEMES:
        raise ValueError(f"'{parts.scheme}:' cannot be fetched; {', '.join(SCHEMES)} and relative paths can")
    if parts.scheme and "@" in parts.netloc:
        raise ValueError("it holds a user or password; credentials belong into an Airflow connection")
    if parts.scheme in ("http", "https", "s3") and not (parts.netloc and parts.path.strip("/")):
        raise ValueError(f"'{uri}' names no {'bucket and key' if parts.scheme == 's3' else 'host and path'}")
    return uri if parts.scheme else check_relative_path(uri)


def check_relative_path(path: str) -> str:
    """Return ``path`` when it stays inside the project's folder, else raise ValueError."""
    if not path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError(f"'{path}' is not a path inside the project's folder")
    return path


def _check_tag(tag: str) -> str:
    if not tag.strip() or len(tag) > 100:  # the length of Airflow's column for a tag
        raise ValueError("a tag has 1 to 100 characters")
    return tag


def check_not_reserved(name: str) -> str:
    """Return a model's ``name`` when the DAG of that name may be its own, else raise ValueError."""
    if name.startswith(RESERVED):
        raise ValueError(f"'{name}' is reserved: DAGs whose names begin with '{RESERVED}' are Modelyard's own")
    return name


LowerCaseName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,38}[a-z0-9]$")]
ModelName = Annotated[LowerCaseName, AfterValidator(check_not_reserved)]
DataName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
RelativePath = Annotated[str, AfterValidator(check_relative_path)]
Quantity = Annotated[str, BeforeValidator(_number_as_text, json_schema_input_type=str | float)]
Cpu = Annotated[Quantity, AfterValidator(check_cpu)]
Memory = Annotated[Quantity, AfterValidator(check_bytes)]


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


class Resources(Section):
    """What one container asks for and is limited to."""

    cpu: Cpu | None = Field(default=None, description="Cores, as a Kubernetes quantity.", examples=["1", "500m"])
    memory: Memory | None = Field(default=None, description="Bytes, as a Kubernetes quantity.", examples=["1Gi"])


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


class AssetSchedule(Section):
    """Train whenever an Airflow asset is updated."""

    asset: str = Field(
        pattern=r"^[a-z][a-z0-9+.-]*:[^\s]+$", description="The asset's URI.", examples=["s3://bucket/houses.csv"]
    )


class TimetableSchedule(Section):
    """Train by any of Airflow's timetables, or one of your own."""

    timetable: Annotated[str, AfterValidator(check_timetable)] = Field(
        description="Import path of the timetable's class.", examples=["airflow.sdk.CronTriggerTimetable"]
    )
    arguments: dict[str, Any] = Field(
        default_factory=dict,
        description="Its keyword arguments.",
        examples=[{"expression": "0 3 * * *", "timezone": "Europe/Rome"}],
    )


def _kind_of_schedule(value: Any) -> str:
    if isinstance(value, dict):
        return "timetable" if "timetable" in value else "asset"
    if isinstance(value, AssetSchedule | TimetableSchedule):
        return "asset" if isinstance(value, AssetSchedule) else "timetable"
    return "cron"


Schedule = Annotated[
    Annotated[str, AfterValidator(check_cron), Tag("cron")]
    | Annotated[AssetSchedule, Tag("asset")]
    | Annotated[TimetableSchedule, Tag("timetable")],
    Discriminator(_kind_of_schedule),
]


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
