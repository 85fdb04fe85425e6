"""How steps are run: one function an execution mode makes the task of any step; airflow.cfg says which mode it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, conf
from airflow.sdk.exceptions import AirflowException

from model_store.shape import read_forbidden
from modelyard.errors import ModelyardError
from modelyard.steps import plan

Mode = Callable[..., BaseOperator]

LOCAL, DOCKER, KUBERNETES = "local", "docker", "kubernetes"

_SECTION = "modelyard"
_DAY = 24 * 60 * 60


def execution(model: str | None = None) -> str:
    """Return the name of the mode that a model's steps run in; for None, of all models that have none of their own."""
    name: str = _own().get(model or "") or conf.get(_SECTION, "execution", fallback=LOCAL)
    return name


def executions() -> list[str]:
    """Return the names of all modes that models run in, that of most models first."""
    return list(dict.fromkeys([execution(), *_own().values()]))


def resource_params(model: str) -> tuple[str, ...]:
    """Return the resources that a model's run may be given by Params: none where there is nothing to give them to."""
    if execution(model) == LOCAL:
        return ()
    forbidden = read_forbidden(conf.get(_SECTION, "forbid", fallback=""))
    return tuple(key for key in plan.RESOURCE_PARAMS if key.rpartition(".")[2] not in forbidden)


def configured_modes() -> dict[str, Mode]:
    """Return what makes a step's task, by the name of the mode.

    Raises:
        AirflowException: the configuration names no mode, or leaves out what the mode needs.
    """
    return {name: _configured(name) for name in executions()}


def _own() -> dict[str, str]:
    """Return the mode of each model that has one of its own."""
    setting: str = conf.get(_SECTION, "execution_of", fallback="")
    pairs = [part.partition(":") for part in setting.split(",") if part.strip()]
    for model, _, name in pairs:
        if not (model.strip() and name.strip()):
            remedy = f"write it as `wine: {LOCAL}, houses: {KUBERNETES}`"
            raise AirflowException(f"[{_SECTION}] execution_of has '{model}' without a mode\n  → {remedy}")
    return {model.strip(): name.strip() for model, _, name in pairs}


def _configured(name: str) -> Mode:
    """The pod operator takes seconds to import, so only the mode that has one pays for it; Docker's takes one."""
    if name == LOCAL:
        from model_store.local import LocalStepOperator

        return LocalStepOperator
    deadline_seconds = conf.getint(_SECTION, "deadline_seconds", fallback=_DAY)
    if name == DOCKER:
        from model_store.docker import Containers, DockerStepOperator

        containers = Containers(
            runner_image=_runner_image(name),
            deadline_seconds=deadline_seconds,
            network=conf.get(_SECTION, "docker_network", fallback="bridge"),
            forbidden=read_forbidden(conf.get(_SECTION, "forbid", fallback="")),
        )
        return partial(DockerStepOperator, containers=containers)
    if name != KUBERNETES:
        raise AirflowException(
            f"[{_SECTION}] execution or execution_of is '{name}'\n  → set it to '{LOCAL}', '{DOCKER}' or '{KUBERNETES}'"
        )
    from model_store.kubernetes import Cluster, KubernetesStepOperator
    from modelyard.execution.kubernetes import Builder
    from modelyard.execution.project_container import BUILDER_IMAGE

    cluster = Cluster(
        conn_id=conf.get(_SECTION, "kubernetes_conn_id", fallback="kubernetes_default"),
        namespace=conf.get(_SECTION, "namespace", fallback="modelyard"),
        runner_image=_runner_image(name),
        deadline_seconds=deadline_seconds,
        gpu_resource=conf.get(_SECTION, "gpu_resource", fallback="nvidia.com/gpu"),
        forbidden=read_forbidden(conf.get(_SECTION, "forbid", fallback="")),
        store_secret=conf.get(_SECTION, "store_secret", fallback="") or None,
        builder=Builder(
            conf.get(_SECTION, "builder_image", fallback=BUILDER_IMAGE),
            conf.get(_SECTION, "builder_seccomp_profile", fallback="") or None,
        ),
        template=_pod_template(),
    )
    return partial(KubernetesStepOperator, cluster=cluster)


def _runner_image(mode: str) -> str:
    image: str = conf.get(_SECTION, "runner_image", fallback="")
    if not image:
        raise AirflowException(
            f"[{_SECTION}] execution is '{mode}' and runner_image is not set\n"
            "  → make and push it with: modelyard image runner --push host/prefix/runner:tag"
        )
    return image


def _pod_template() -> dict[str, Any] | None:
    path = conf.get(_SECTION, "pod_template", fallback="")
    if not path:
        return None
    from modelyard.execution.kubernetes import CONTAINER
    from modelyard.execution.pod_template import read_template

    try:
        return read_template(Path(path), CONTAINER)
    except ModelyardError as error:
        raise AirflowException(str(error)) from error
