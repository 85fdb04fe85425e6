"""What a step's pod is given: by model.yaml, by a run's Params over it; what the administrator forbids is over all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException

if TYPE_CHECKING:
    from modelyard.project.model import Step

# All that model.yaml may ask for under `steps.<step>`, by its last key.
RESOURCES = ("cpu", "memory", "ephemeral_storage", "gpu")
POD = (
    *("nodeSelector", "affinity", "tolerations", "priorityClassName", "serviceAccountName", "imagePullSecrets"),
    *("env", "envFrom", "volumes", "volumeMounts"),
)
KEYS = (*RESOURCES, "defer", *POD)


def read_forbidden(setting: str) -> tuple[str, ...]:
    """Return the keys that ``[modelyard] forbid`` names, separated by commas.

    Raises:
        AirflowException: it names none that there is, so it would forbid nothing.
    """
    names = tuple(name.strip() for name in setting.split(",") if name.strip())
    for name in names:
        if name not in KEYS:
            raise AirflowException(f"[modelyard] forbid names '{name}'\n  → the keys there are: {', '.join(KEYS)}")
    return names


def refuse_forbidden(step: str, settings: Mapping[str, Any], forbidden: Sequence[str]) -> None:
    """Refuse a model.yaml that asks for what is forbidden.

    Args:
        step: the step.
        settings: its section of model.yaml, as ``modelyard lock`` resolved it.
        forbidden: of ``read_forbidden``.

    Raises:
        AirflowException: it asks for it; the message names the key.
    """
    asked = {f"resources.{name}": value for name, value in settings.get("resources", {}).items()}
    asked |= {f"pod.{name}": value for name, value in settings.get("pod", {}).items()}
    asked["defer"] = settings.get("defer")
    for path, value in asked.items():
        if value and path.rpartition(".")[2] in forbidden:
            key = f"`steps.{step}.{path}`"
            raise AirflowException(f"{key} of model.yaml is forbidden by the administrator: [modelyard] forbid")


def step_settings(step: str, settings: Mapping[str, Any], params: Mapping[str, Any], forbidden: Sequence[str]) -> Step:
    """Return how a step of one run is to be run.

    A lock may have been written by hand, so it is held to model.yaml's own rules again.

    Args:
        step: the step.
        settings: its section of model.yaml, as ``modelyard lock`` resolved it.
        params: the run's Params; ``resources.STEP.NAME`` wins over model.yaml's.
        forbidden: of ``read_forbidden``.

    Raises:
        RequestError: a Param is no quantity, or forbidden; or the lock says what no model.yaml may.
    """
    from pydantic import ValidationError

    from modelyard.errors import RequestError
    from modelyard.project.model import Step

    prefix = f"resources.{step}."
    over = {key.removeprefix(prefix): value for key, value in params.items() if key.startswith(prefix) and value}
    given = settings.get("resources", {})
    for name, value in over.items():
        if name in forbidden and value != given.get(name):
            raise RequestError(
                f"The Param {prefix}{name} is forbidden by the administrator: [modelyard] forbid", "leave it out"
            )
    try:
        return Step.model_validate({**settings, "resources": {**given, **over}})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise RequestError(
            f"`steps.{step}.{where}` cannot be: {said}",
            f"correct the Params {prefix}…, or model.yaml and its lock (modelyard lock)",
        ) from error
