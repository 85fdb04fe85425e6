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

    def variables(self, port: int) -> dict[str, str]:
        """Return what the server in the image is told, to answer at ``port``."""
        return {
            "MODELYARD_MODEL_NAME": self.model,
            "MODELYARD_MODEL_VERSION": str(self.version),
            "MODELYARD_IMAGE_DIGEST": self.digest,
            "AIP_HTTP_PORT": str(port),
            "MODELYARD_LEARNING_SECONDS": "0",  # the step has ended then, and nobody else asks
        }


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

    def arguments(self, beside: Mapping[str, str]) -> list[str]:
        """Return what ``modelyard`` is called with for this try; a mode adds how the step reaches the store.

        Args:
            beside: the base URL of each image beside the step, by its name.
        """
        arguments = ["step", self.step, "--pipeline-run", self.pipeline_run]
        arguments += ["--try-number", str(self.try_number), "--clear-number", str(self.clear_number)]
        return arguments + [part for name, url in beside.items() for part in ("--beside", f"{name}={url}")]
