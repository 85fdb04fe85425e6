"""What to run: the one value that every execution mode turns into a process, a pod or a container."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ImageBeside:
    """A model image that serves beside a step while it runs, without any credential.

    Attributes:
        repository, digest: where the image is; always by digest.
        model: the model's name, as the server answers it.
        version: told to the server, as a deployment would.
    """

    repository: str
    digest: str
    model: str
    version: int


@dataclass(frozen=True)
class ProjectImage:
    """The image of a project's own Dockerfile, which runs the project's code beside a step, without any credential.

    Attributes:
        reference: full name, by digest.
        python: the interpreter in it.
    """

    reference: str
    python: str


@dataclass(frozen=True)
class Command:
    """One try of one step.

    Attributes:
        step: its name in ``steps.plan.STEPS``.
        pipeline_run: the key of the pipeline run; the step reads everything else from the store.
        try_number: Airflow's, from 1.
        clear_number: Airflow's count of clears of this DAG run.
        image: by digest, the image to run in where it is not the runner image; a local process runs in none.
        project: the image that the project's code runs in beside the step; None where that code is a child of the step.
        beside: images that serve while the step runs; the step gets the base URL of each by its name.
        resources: quantities by model.yaml's names (``{"cpu": "1", "memory": "1Gi"}``); a local process has none.
        pod: what the pod is given beyond that, in Kubernetes' own spelling: ``project.pod.Pod`` as JSON.
    """

    step: str
    pipeline_run: str
    try_number: int = 1
    clear_number: int = 0
    image: str | None = None
    project: ProjectImage | None = None
    beside: Mapping[str, ImageBeside] = field(default_factory=dict)
    resources: Mapping[str, str] = field(default_factory=dict)
    pod: Mapping[str, Any] = field(default_factory=dict)
