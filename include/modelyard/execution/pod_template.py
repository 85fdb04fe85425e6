"""An administrator's own pod template, which the pod of each step is merged onto.

It adds what a cluster needs of every pod: labels, tolerations, a proxy's variables, default resources, a native
side-car. What makes a step run, and run confined, is Modelyard's alone: a template that would change that is refused,
not ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from modelyard.errors import ModelyardError, RequestError

JSON = dict[str, Any]

# Where a list's entries have a name, those of one name are one entry; where they have none, all of them count.
_NAMED = {"containers": "name", "initContainers": "name", "volumes": "name", "env": "name", "volumeMounts": "mountPath"}
_NAMED |= {"imagePullSecrets": "name"}
_ALL = ("tolerations", "envFrom")
_MERGED_ENTRIES = ("containers", "initContainers")
_WHOLE = ("affinity",)  # a part of it alone says something else

_OURS_OF_POD = (
    *("activeDeadlineSeconds", "automountServiceAccountToken", "enableServiceLinks", "restartPolicy"),
    *("securityContext", "serviceAccountName"),
)
_OURS_OF_CONTAINER = ("args", "command", "image", "securityContext", "workingDir")
_NOT_RESTRICTED = ("hostIPC", "hostNetwork", "hostPID", "hostUsers", "shareProcessNamespace")


def read_template(path: Path, container: str) -> JSON:
    """Return the pod template in a file.

    Args:
        path: YAML, a Pod.
        container: the name of the step's own container.

    Raises:
        RequestError: it is no template for a step's pod; the message names the key.
    """
    try:
        template = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _refusal(path, f"cannot be read: {error}", "name a readable YAML file") from error
    if not isinstance(template, dict) or not isinstance(template.get("spec"), dict):
        raise _refusal(path, "is no pod: it has no spec", "write one as `kubectl get pod -o yaml` shows it")
    _check_keys(path, template)
    _check_ours(path, template["spec"], container)
    return template


def _check_keys(path: Path, template: JSON) -> None:
    try:
        unknown = list(_unknown(template | {"spec": {"containers": []} | template["spec"]}))
    except (ValueError, TypeError, AttributeError) as error:
        raise _refusal(path, f"is no pod: {error}", "write it as `kubectl get pod -o yaml` shows one") from error
    for key in unknown:
        raise _refusal(path, f"has the key {key}, which no pod has", "correct it: Kubernetes would drop it in silence")


def _check_ours(path: Path, spec: JSON, container: str) -> None:
    for key in (*_OURS_OF_POD, *_NOT_RESTRICTED):
        if key in spec:
            raise _refusal(path, f"sets spec.{key}", "take it out: it is Modelyard's, which keeps steps confined")
    for volume in spec.get("volumes") or ():
        if "hostPath" in volume:
            raise _refusal(path, f"has the hostPath volume '{volume['name']}'", "make it a persistentVolumeClaim")
    for one in spec.get("containers") or ():
        if one["name"] != container:
            raise _refusal(
                path,
                f"has the container '{one['name']}', with which no step's pod would end",
                "make it one of initContainers with `restartPolicy: Always`: that ends with the step",
            )
        for key in one:
            if key in _OURS_OF_CONTAINER:
                raise _refusal(path, f"sets {key} of the container '{container}'", "take it out: it is the step's own")


def _refusal(path: Path, what: str, remedy: str) -> ModelyardError:
    return RequestError(f"The pod template {path} ([modelyard] pod_template) {what}", remedy)


def merged(template: JSON, pod: JSON) -> JSON:
    """Return ``pod`` with what ``template`` adds to it; where both say something, ``pod`` says it."""
    result = dict(template)
    for key, value in pod.items():
        result[key] = _merged(key, template[key], value) if template.get(key) else value
    return result


def _merged(key: str, theirs: Any, ours: Any) -> Any:
    if isinstance(ours, dict) and key not in _WHOLE:
        return merged(theirs, ours)
    if key in _ALL:
        return [*theirs, *ours]
    if key not in _NAMED:
        return ours or theirs
    name = _NAMED[key]
    of_theirs = {entry[name]: entry for entry in theirs}
    of_ours = {entry[name]: entry for entry in ours}
    if key in _MERGED_ENTRIES:
        of_ours = {name: merged(of_theirs.get(name, {}), entry) for name, entry in of_ours.items()}
    return list((of_ours | {name: entry for name, entry in of_theirs.items() if name not in of_ours}).values())


def _unknown(template: JSON) -> Iterator[str]:
    """Yield the paths of keys that Kubernetes' own client does not know, or whose values it cannot read."""
    from kubernetes import client

    api = client.ApiClient(client.Configuration())
    read = api._ApiClient__deserialize_model(template, client.V1Pod)
    yield from _lost(template, api.sanitize_for_serialization(read), "")


def _lost(given: Any, kept: Any, path: str) -> Iterator[str]:
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if value is None:
                continue
            if key not in kept:
                yield f"{path}{key}"
            else:
                yield from _lost(value, kept[key], f"{path}{key}.")
    elif isinstance(given, list) and isinstance(kept, list):
        for index, (one, other) in enumerate(zip(given, kept, strict=False)):
            yield from _lost(one, other, f"{path.removesuffix('.')}[{index}].")
