"""The pipeline as data: the order of its steps, which of them a run leaves out, and what serves beside which.

Read by the DAGs at parse time and by `modelyard run`, so it imports nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelyard.execution.command import ImageBeside, ProjectImage
    from modelyard.store import Store
    from modelyard.store.records import PipelineRun


@dataclass(frozen=True)
class Step:
    """One row of the pipeline: its name, what it does in a few words, and where it runs.

    Attributes:
        image: ``runner`` (Modelyard's own environment is enough) or ``environment`` (the project's beside it).
    """

    name: str
    does: str
    image: str = "runner"


STEPS = (
    Step("prepare", "Resolve the project at its ref; build or reuse its environment"),
    Step("train", "Run the Sacred experiment in the project's locked environment", image="environment"),
    Step("log_to_sacred", "Verify the run and register an immutable model version"),
    Step("validate", "Check data, metrics against production and critical predictions", image="environment"),
    Step("containerise", "Build the model image from its layers"),
    Step("test_image", "Start the image and replay its golden predictions"),
    Step("push", "Copy the tested image to the release repository, by digest"),
    Step("deploy", "Roll out, smoke test, move the alias, or roll back"),
)
ROLLBACK = Step("rollback", "Deploy an earlier version again")
COLLECT = Step("gc", "Delete what nothing in the model store refers to any more")
BY_NAME = {step.name: step for step in (*STEPS, ROLLBACK, COLLECT)}
DEPLOYING = ("deploy", "rollback")
SIGNING = "push"
RELEASING = ("validate", "containerise", "test_image", "push", "deploy")
# The steps that run the project's code are those that one run may need more for than another.
RESOURCE_PARAMS = tuple(
    f"resources.{step.name}.{what}" for step in STEPS if step.image == "environment" for what in ("cpu", "memory")
)


def skipped_because(step: str, params: Mapping[str, Any]) -> str | None:
    """Return why a run with these Params leaves ``step`` out, as a sentence; None when it runs."""
    if step in {"train", "log_to_sacred"} and params.get("version") is not None:
        return f"Version {params['version']} is released as it is: nothing to train."
    if step in RELEASING and params.get("release") is False:
        return "The Param 'release' is off: the run ends with a candidate version."
    return None


def asks_approval(settings: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    """Return whether a person is asked before a run with these settings and Params deploys."""
    if settings["approval"] and settings["protected"]:
        return True  # no Param takes away what protects an environment
    asked = params.get("approve")
    return bool(settings["approval"] if asked is None else asked)


def beside(step: str, run: PipelineRun, store: Store) -> dict[str, ImageBeside]:
    """Return the model images that serve while ``step`` runs: production's to compare with, the candidate's to test.

    Raises:
        Unavailable: the store cannot be reached.
    """
    from modelyard.execution.command import ImageBeside

    if step == "validate":
        alias = store.aliases.get(run.model, run.settings["environment"])
        if alias is None or alias.version is None:
            return {}
        version = store.versions.get(run.model, alias.version)
        if version.image_digest is None:  # an alias moved by hand to a candidate without an image
            return {}
        return {"production": ImageBeside(run.model, version.image_digest, run.model, version.version)}
    if step == "test_image":
        record = store.steps.get(run.id, "containerise")
        if record is None or record.result is None:
            return {}
        built = record.result
        return {"candidate": ImageBeside(built["repository"], built["image_digest"], run.model, built["version"])}
    return {}


def image(step: str, run: PipelineRun, store: Store) -> str | None:
    """Return the image that ``step`` runs in, by digest, as `prepare` made it; None for the runner image.

    Raises:
        Unavailable: the store cannot be reached.
    """
    if BY_NAME[step].image == "runner":
        return None
    record = store.steps.get(run.id, "prepare")
    return None if record is None or record.result is None else record.result["environment_image"]


def project_image(step: str, run: PipelineRun, store: Store) -> ProjectImage | None:
    """Return the image of the project's own Dockerfile for a step that runs the project's code; None without one.

    Raises:
        Unavailable: the store cannot be reached.
    """
    from modelyard.execution.command import ProjectImage

    record = store.steps.get(run.id, "prepare") if BY_NAME[step].image == "environment" else None
    environment = {} if record is None or record.result is None else record.result["environment"]
    if environment.get("executable") is None:
        return None
    return ProjectImage(environment["reference"], environment["executable"])


def settings(project: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what holds for a run: its environment, and that one's section of model.yaml's ``deployment.environments``.

    Args:
        project: model.yaml as ``modelyard lock`` resolved it.
        params: the run's Params; ``environment`` wins over model.yaml's.

    Raises:
        RequestError: model.yaml has no such environment.
    """
    from modelyard.errors import RequestError

    deployment = project["deployment"]
    environment = params.get("environment") or deployment["environment"]
    if environment not in deployment["environments"]:
        raise RequestError(
            f"'{project['name']}' has no environment '{environment}'",
            f"choose one of: {', '.join(deployment['environments'])}, or add it to model.yaml",
        )
    return {"environment": environment, **deployment["environments"][environment]}
