"""The DAG of garbage collection: one step, of no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Never

from airflow.sdk import DAG, Param

from model_store.mode import Mode
from model_store.run import JSON, PipelineStep
from modelyard.garbage.patience import DEFAULT, PATTERN
from modelyard.provider_info import CONNECTION_ID
from modelyard.steps import plan

if TYPE_CHECKING:
    from airflow.sdk import Context

    from modelyard.execution import Command
    from modelyard.store import PipelineRun, Store

DAG_ID = "modelyard-gc"

_EVERY_DAY = "17 3 * * *"
_RETRY_DELAY = timedelta(minutes=5)


def collection_dag(mode: Mode, conn_id: str = CONNECTION_ID) -> DAG:
    """Return the DAG that deletes what nothing in the model store refers to any more.

    Args:
        mode: makes the step's task.
        conn_id: the model store's connection.
    """
    with DAG(
        dag_id=DAG_ID,
        description="Delete artifacts and images that nothing refers to any more",
        doc_md="Each run notes what it finds unreferenced, and deletes what an earlier one noted, once it has been "
        "noted for long enough and nobody has used it since. Safe beside running pipelines; the task's log has the "
        "table. Switch it on to have it run every day.",
        schedule=_EVERY_DAY,
        catchup=False,
        is_paused_upon_creation=True,
        max_active_runs=1,
        tags=["modelyard"],
        params={
            "delete": Param(
                True, type="boolean", title="Delete", description="Off: only tell what there is, and change nothing."
            ),
            "older_than": Param(
                DEFAULT,
                type="string",
                pattern=PATTERN,
                title="Noted for",
                description="Hours or days (36h, 7d) for which a thing has to be known as unreferenced.",
            ),
        },
        default_args={"owner": "modelyard", "retries": 2, "retry_delay": _RETRY_DELAY},
    ) as dag:
        step = CollectionStep(plan.COLLECT.name, _of_no_project, conn_id)
        mode(task_id=plan.COLLECT.name, pipeline_step=step, outlets=step.outlets(), doc_md=plan.COLLECT.does)
    return dag


def _of_no_project(params: Mapping[str, Any]) -> Never:  # noqa: ARG001 - whatever they are
    raise LookupError("garbage collection is of no project")


@dataclass(frozen=True)
class CollectionStep(PipelineStep):
    """The step `gc`, which has nothing of a project: neither its settings nor its credentials."""

    def begin(self, context: Context, store: Store) -> tuple[PipelineRun, Command]:
        """Write the run down, as every step finds in the store what it is asked for."""
        from modelyard.execution import Command
        from modelyard.store import PipelineRun, pipeline_run_id

        dag_run, installation = context["dag_run"], store.address.installation
        run = store.pipelines.open(
            PipelineRun(
                id=pipeline_run_id(installation, dag_run.dag_id, dag_run.run_id),
                installation=installation,
                dag_id=dag_run.dag_id,
                run_id=dag_run.run_id,
                model=DAG_ID,
                project={},
                params=dict(context["params"]),
                settings={},
                started_by=dag_run.triggering_user_name or str(dag_run.run_type.value),
                clear_number=dag_run.clear_number or 0,
                created_at=datetime.now(UTC),
            )
        )
        return run, Command(self.step, run.id, context["ti"].try_number, run.clear_number)

    def settings_of(self, params: Mapping[str, Any]) -> JSON:  # noqa: ARG002 - whatever they are
        """Return no settings: no model.yaml says anything of this step."""
        return {}

    def git_conn_id(self, params: Mapping[str, Any]) -> None:
        """Return no connection: nothing is fetched from a repository."""
