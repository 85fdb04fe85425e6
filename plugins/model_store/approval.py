"""The task that asks a person before a version is deployed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowSkipException

from model_store.hook import ModelStoreHook
from model_store.run import PipelineStep, task_failure
from modelyard.errors import ModelyardError
from modelyard.steps import plan

if TYPE_CHECKING:
    from airflow.sdk import Context

    from modelyard.store import ModelVersion, PipelineRun


class ReleaseApprovalOperator(ApprovalOperator):
    """Shows the version's figures against production's, and waits for a yes or no; skipped where nobody is to be asked.

    Args:
        pipeline_step: of step ``deploy``, which this task guards.
    """

    template_fields: Sequence[str] = ()

    def __init__(self, *, pipeline_step: PipelineStep, **kwargs: Any) -> None:
        super().__init__(subject="Deploy this version?", **kwargs)
        self.pipeline_step = pipeline_step

    def execute(self, context: Context) -> Any:
        """Write the question with this run's figures, and park the task until it is answered."""
        params = context["params"]
        project = self.pipeline_step.project_of(params).project
        reason = plan.skipped_because("deploy", params)
        try:
            settings = plan.settings(project, params)
            if reason is None and not plan.asks_approval(settings, params):
                reason = f"'{settings['environment']}' needs no approval."
            if reason is not None:
                raise AirflowSkipException(reason)
            with ModelStoreHook(self.pipeline_step.conn_id) as store:
                run, _ = self.pipeline_step.begin(context, store)
                validated, tested, pushed = (
                    store.steps.get(run.id, name) for name in ("validate", "test_image", "push")
                )
                if validated is None or validated.result is None or pushed is None or pushed.result is None:
                    raise AirflowSkipException("Nothing was validated and pushed by this run.")
                version = store.versions.get(run.model, pushed.result["version"])
        except ModelyardError as error:
            raise task_failure(error) from error
        self.subject = f"Deploy {run.model} version {version.version} to {run.settings['environment']}?"
        not_tested = [] if tested is None or tested.result is None else tested.result.get("not_tested", [])
        self.body = figures(run, version, validated.result, not_tested)
        return super().execute(context)


def figures(run: PipelineRun, version: ModelVersion, validated: dict[str, Any], not_tested: Sequence[str] = ()) -> str:
    """Return the question's body, in Markdown: what was found, what was expected, what production has.

    Args:
        run: which asks for it.
        version: to be deployed.
        validated: what `validate` has found, ``modelyard.steps.results.Validated``.
        not_tested: platforms that the image is for, and was not tested on.
    """
    live, gates = validated["live"], validated["gates"]
    production = "Nothing is live there yet" if live is None else f"Version {live}, live there"
    lines = [
        f"Asked for by **{run.started_by}**. {run.params.get('reason') or ''}",
        "",
        *([f"Not compared with version {live}: {_cell(why)}.", ""] if (why := validated["not_compared"]) else []),
        f"| Gate | Expected | This version ({version.version}) | {production} | |",
        "|---|---|---|---|---|",
    ]
    for gate in gates:
        cells = (_cell(gate[name]) for name in ("gate", "expected", "found", "production"))
        lines.append(f"| {' | '.join(cells)} | {'passed' if gate['passed'] else 'failed'} |")
    if not gates:
        lines += [f"| {name} | | {_cell(value)} | | |" for name, value in sorted(version.metrics.items())]
    untested = [f"Its image for {', '.join(not_tested)} was not tested.", ""] if not_tested else []
    return "\n".join([*lines, "", *untested, f"Commit {version.commit or 'none'}, image {version.image_digest}"])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "–" if value is None else str(value).replace("|", "\\|").replace("\n", " ")
