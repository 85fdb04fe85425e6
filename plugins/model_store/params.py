"""The form of a model's DAG: one Param for everything a run can be given, from the project's lock.

Airflow validates conf against these at the trigger, whoever triggers; unknown keys pass, and `prepare` refuses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Param

from model_store.projects import LockedProject
from modelyard.quantity import PATTERN as QUANTITY

_TYPES = {"null", "boolean", "integer", "number", "string", "array", "object"}
_RESOURCES = {"cpu": "Cores: 2, or 500m.", "memory": "Bytes: 4Gi."}


def params_of(locked: LockedProject, resources: Sequence[str] = ()) -> dict[str, Param]:
    """Return the Params of a model's DAG, by key. Every one has a default, so that a schedule can run it.

    Args:
        locked: the project.
        resources: the keys of ``modelyard.steps.plan.RESOURCE_PARAMS`` that a run may be given.
    """
    return {
        **_code(locked),
        **_data(locked),
        **_training(locked),
        **_release(locked),
        **_resources(locked, resources),
    }


def needs_approval(locked: LockedProject) -> bool:
    """Return whether any of the model's environments asks a person before it is deployed to."""
    return any(environment["approval"] for environment in locked.environments.values())


def _code(locked: LockedProject) -> dict[str, Param]:
    if "git" not in locked.source:
        return {}
    return {
        "ref": Param(
            locked.source.get("ref"),
            type=["null", "string"],
            title="Git ref",
            description="Branch, tag or commit to train. Empty: the repository's default branch.",
            section="Code",
        )
    }


def _data(locked: LockedProject) -> dict[str, Param]:
    return {
        f"data.{name}": Param(
            data["uri"],
            type="string",
            minLength=1,
            title=f"{name} ({'training' if data['role'] == 'train' else 'evaluation'} data)",
            description="A path inside the project, or an address: file, http, https or s3.",
            section="Data",
        )
        for name, data in locked.project["data"].items()
    }


def _training(locked: LockedProject) -> dict[str, Param]:
    return {
        f"config.{entry['path']}": Param(
            entry["default"],
            **_schema(entry),
            title=entry["path"],
            description=entry.get("doc") or f"Default: {entry['default']}",
            section="Training",
        )
        for entry in locked.config
    }


def _schema(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of one entry of the experiment's configuration; of no known type, anything goes."""
    kind, default = entry["type"], entry["default"]
    if kind not in _TYPES or kind == "null":
        return {"type": ["null", "string", "number", "boolean", "array", "object"]}
    # The form takes an empty text, list or number for none at all, and refuses it where none is not allowed.
    return {"type": ["null", kind] if default in (None, "", []) else kind}


def _resources(locked: LockedProject, keys: Sequence[str]) -> dict[str, Param]:
    params = {}
    for key in keys:
        _, step, what = key.split(".")
        params[key] = Param(
            locked.resource(key),
            type=["null", "string"],
            pattern=QUANTITY,
            title=f"{what.capitalize()} of {step}",
            description=f"{_RESOURCES[what]} Asked for, and the most it gets. Empty: as the cluster has it.",
            section="Resources",
        )
    return params


def _release(locked: LockedProject) -> dict[str, Param]:
    environments = list(locked.environments)
    default = locked.project["deployment"]["environment"]
    params = {
        "version": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Version",
            description="Release this version of the store, without training. Empty: train a new one.",
            section="Release",
        ),
        "release": Param(
            True,
            type="boolean",
            title="Release",
            description="Off: the run ends with a candidate version in the store, and nothing is deployed.",
            section="Release",
        ),
        "environment": Param(
            default,
            type="string",
            enum=environments,
            title="Environment",
            description="Where the version is deployed to.",
            section="Release",
        ),
    }
    if needs_approval(locked):
        params["approve"] = Param(
            None,
            type=["null", "boolean"],
            title="Ask for approval",
            description="A person says yes or no before the deployment. Empty: as the environment asks. "
            "A protected environment that asks for it always gets it.",
            section="Release",
        )
    params["reason"] = Param(
        None,
        type=["null", "string"],  # the form insists on a text where a text is the only type
        title="Reason",
        description="Kept in the history of what was live when.",
        section="Release",
    )
    return params
