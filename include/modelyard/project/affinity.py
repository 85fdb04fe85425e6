"""The shape of Kubernetes' ``affinity``, so that a misspelled key is told here and not dropped in silence there."""

from __future__ import annotations

from typing import Any

JSON = dict[str, Any]

_REQUIREMENT = {"key": str, "operator": str, "values": [str]}
_NODES = {"matchExpressions": [_REQUIREMENT], "matchFields": [_REQUIREMENT]}
_LABELS = {"matchLabels": {"": str}, "matchExpressions": [_REQUIREMENT]}  # "": any key
_PODS = {
    "labelSelector": _LABELS,
    "namespaceSelector": _LABELS,
    "namespaces": [str],
    "topologyKey": str,
    "matchLabelKeys": [str],
    "mismatchLabelKeys": [str],
}
_REQUIRED, _PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)
_OF_PODS = {_REQUIRED: [_PODS], _PREFERRED: [{"weight": int, "podAffinityTerm": _PODS}]}
_AFFINITY = {
    "nodeAffinity": {
        _REQUIRED: {"nodeSelectorTerms": [_NODES]},
        _PREFERRED: [{"weight": int, "preference": _NODES}],
    },
    "podAffinity": _OF_PODS,
    "podAntiAffinity": _OF_PODS,
}
_CALLED = {str: "a text", int: "an integer", list: "a list", dict: "a mapping"}


def check_affinity(value: JSON) -> JSON:
    """Return ``value`` when it has the shape of an affinity, else raise ValueError that names the wrong place."""
    _check(value, _AFFINITY, "affinity")
    return value


def _check(value: Any, shape: Any, path: str) -> None:
    kind: type = shape if isinstance(shape, type) else type(shape)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"`{path}` should be {_CALLED[kind]}")  # noqa: TRY004 - what pydantic takes for a wrong value
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, shape[0], f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in shape and "" not in shape:
                raise ValueError(f"`{path}` has no key '{key}': Kubernetes knows {', '.join(shape)}")
            _check(item, shape.get(key, shape.get("")), f"{path}.{key}")
