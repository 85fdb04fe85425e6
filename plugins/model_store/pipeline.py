"""The DAG of a model: the steps of the pipeline, in their order, as its lock describes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from importlib import import_module
from typing import Any

from airflow.sdk import DAG, Asset, BaseOperator, Param, TriggerRule, chain
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from model_store.approval import ReleaseApprovalOperator
from model_store.links import page
from model_store.mode import Mode, resource_params
from model_store.params import needs_approval, params_of
from model_store.projects import BrokenProject, LockedProject
from model_store.run import PipelineStep
from modelyard.provider_info import CONNECTION_ID
from modelyard.steps import plan

_RETRY_DELAY = timedelta(seconds=5)
_RUNS_AT_ONCE = 3


def project_dag(found: LockedProject | BrokenProject, mode: Mode) -> DAG:
    """Return the DAG of a project, or the one that tells why there is none: no project's mistake hides another."""
    if isinstance(found, BrokenProject):
        return broken_dag(found)
    try:
        return model_dag(found, mode)
    except (ImportError, AttributeError, LookupError, TypeError, ValueError, AirflowException) as error:
        remedy = f"correct model.yaml, then write its lock anew with: modelyard lock {found.name}"
        return broken_dag(BrokenProject(found.name, f"Airflow refuses '{found.name}': {error}\n  → {remedy}"))


def model_dag(locked: LockedProject, mode: Mode, conn_id: str = CONNECTION_ID) -> DAG:
    """Return the DAG of one model.

    Every task runs when nothing before it has failed: what a run leaves out is skipped task by task, and says why.

    Args:
        locked: the project.
        mode: makes each step's task.
        conn_id: the model store's connection.
    """
    project = locked.project
    owner = project["owner"] or {"name": "modelyard", "url": None}
    with DAG(
        dag_id=locked.name,
        description=project["description"],
        schedule=_schedule(project["schedule"]),
        tags=sorted({"modelyard", *project["tags"]}),
        owner_links={owner["name"]: owner["url"]} if owner["url"] else {},
        doc_md=_doc(locked),
        catchup=False,
        max_active_runs=_RUNS_AT_ONCE,
        default_args={
            "owner": owner["name"],
            "retries": project["retries"],
            "retry_delay": _RETRY_DELAY,
            "retry_exponential_backoff": 2.0,
            "trigger_rule": TriggerRule.NONE_FAILED,
        },
    ) as dag:
        tasks: list[BaseOperator] = []
        for step in plan.STEPS:
            settings = project["steps"].get(step.name, {})
            pipeline_step = PipelineStep(step.name, lambda _: locked, conn_id, settings)
            if step.name == "deploy" and needs_approval(locked):
                tasks.append(ReleaseApprovalOperator(task_id="approve", pipeline_step=pipeline_step))
            tasks.append(
                mode(
                    task_id=step.name,
                    pipeline_step=pipeline_step,
                    outlets=pipeline_step.outlets(locked.name),
                    doc_md=step.does,
                )
            )
        chain(*tasks)
    # Only now: each task made in a DAG that has Params copies them all, twice, which took half of the time of parsing.
    dag.params = ParamsDict(params_of(locked, resource_params(locked.name)))
    return dag


def broken_dag(broken: BrokenProject) -> DAG:
    """Return the DAG that stands for a project that cannot be read: it shows why, and runs nothing."""
    with DAG(
        dag_id=broken.name,
        description=broken.error.partition("\n")[0],
        doc_md=f"# This project cannot be read\n\n```\n{broken.error}\n```",
        schedule=None,
        tags=["modelyard", "broken"],
    ) as dag:
        _TellOperator(task_id="read_project", error=broken.error)
    return dag


def rollback_dag(
    projects: list[LockedProject],
    modes: Mapping[str, Mode],
    mode_of: Callable[[str], str],
    conn_id: str = CONNECTION_ID,
) -> DAG:
    """Return the DAG that takes a model back to an earlier version: a deployment of an image that exists.

    Args:
        projects: the models.
        modes: what makes the step's task, by the mode's name. There is a task a mode, which skips the others' models.
        mode_of: the name of a model's mode.
        conn_id: the model store's connection.
    """
    by_name = {locked.name: locked for locked in projects}
    environments = sorted({name for locked in projects for name in locked.environments})
    with DAG(
        dag_id="modelyard-rollback",
        description="Take a model back to a version that was live before",
        doc_md="Deploys the image of an earlier version again: nothing is trained or built. It counts as the newest "
        "deployment, so a pipeline run that is still on its way does not overwrite it.",
        schedule=None,
        tags=["modelyard"],
        params={
            "model": Param(type="string", enum=sorted(by_name), title="Model"),
            "version": Param(
                type="integer", minimum=1, title="Version", description="One that was live in this environment before."
            ),
            "environment": Param(
                "production" if "production" in environments else environments[0],
                type="string",
                enum=environments,
                title="Environment",
            ),
            "reason": Param(
                type="string",
                minLength=1,
                title="Reason",
                description="Kept in the history of what was live when.",
            ),
        },
        max_active_runs=_RUNS_AT_ONCE,
        default_args={"owner": "modelyard", "retries": 2, "retry_delay": _RETRY_DELAY},
    ) as dag:
        for number, (name, mode) in enumerate(modes.items()):
            theirs = {model: locked for model, locked in by_name.items() if mode_of(model) == name}
            step = PipelineStep(plan.ROLLBACK.name, partial(_one_of, theirs), conn_id)
            task_id = plan.ROLLBACK.name if number == 0 else f"{plan.ROLLBACK.name}_{name}"
            mode(task_id=task_id, pipeline_step=step, outlets=step.outlets(), doc_md=plan.ROLLBACK.does)
    return dag


def _one_of(projects: Mapping[str, LockedProject], params: Mapping[str, Any]) -> LockedProject:
    if params["model"] not in projects:
        raise AirflowSkipException(f"The steps of '{params['model']}' run in another way: see this DAG's other task")
    return projects[params["model"]]


class _TellOperator(BaseOperator):
    def __init__(self, *, error: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error = error

    def execute(self, context: Any) -> None:  # noqa: ARG002
        raise AirflowFailException(self.error)


def _schedule(schedule: Any) -> Any:
    """Return model.yaml's schedule as Airflow takes it: a cron text, an asset, or an instance of a timetable."""
    if not isinstance(schedule, dict):
        return schedule
    if "asset" in schedule:
        return [Asset(schedule["asset"])]
    module, _, name = schedule["timetable"].rpartition(".")
    return getattr(import_module(module), name)(**schedule["arguments"])


def _doc(locked: LockedProject) -> str:
    project, source = locked.project, locked.source
    where = f"{source['git']} {source['subfolder']}" if "git" in source else source["folder"]
    lines = [
        f"# {locked.name}",
        project["description"],
        "",
        f"Trained by `{project['entry']}` in `{where}`. [Versions and what is live]({page(locked.name)})",
    ]
    return "\n".join(lines)
