"""`modelyard run`: the whole pipeline on this machine, step by step, without Airflow."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from modelyard.errors import RequestError
from modelyard.execution import Command
from modelyard.execution.local import LocalStep
from modelyard.steps import plan
from modelyard.store import PipelineRun, Store, StoreAddress, pipeline_run_id
from modelyard.supply_chain import SigningKey


def run_pipeline(
    project: Mapping[str, Any],
    params: Mapping[str, Any],
    address: StoreAddress,
    home: Path,
    emit: Callable[[str, str], None],
    signing: SigningKey | None = None,
) -> tuple[str, int]:
    """Run every step that these Params ask for and return the pipeline run's key and 0, or the first failing exit code.

    Args:
        project: content of the project's model.lock.json, with the project's folder or repository as its ``source``.
        params: the run's Params; one that is not named has its default.
        address: of the store.
        home: this machine's folder.
        emit: called with the step's name and each line it prints.
        signing: the key that the image is signed with; None leaves it unsigned.

    Raises:
        RequestError: model.yaml has no such environment, or it deploys only after a person said yes.
    """
    started = datetime.now(UTC)
    run_id = f"local__{started:%Y-%m-%dT%H:%M:%S.%f}"
    name = project["project"]["name"]
    settings = plan.settings(project["project"], params)
    if plan.skipped_because("deploy", params) is None and plan.asks_approval(settings, params):
        raise RequestError(
            f"A person says yes or no before anything is deployed to '{settings['environment']}' of '{name}', "
            "and only Airflow can ask one",
            f"release by the DAG '{name}' in Airflow, or run it here with release=false: it ends with a candidate",
        )
    run = PipelineRun(
        id=pipeline_run_id(address.installation, name, run_id),
        installation=address.installation,
        dag_id=name,
        run_id=run_id,
        model=name,
        project=project["source"],
        params=dict(params),
        settings=settings,
        started_by=getpass.getuser(),
        clear_number=0,
        created_at=started,
    )
    with Store.open(address) as store:
        run = store.pipelines.open(run)
        for step in plan.STEPS:
            reason = plan.skipped_because(step.name, params)
            if reason is not None:
                emit(step.name, f"skipped: {reason}")
                continue
            command = Command(step=step.name, pipeline_run=run.id, beside=plan.beside(step.name, run, store))
            key = signing if step.name == plan.SIGNING else None
            code = LocalStep(command, address, home, partial(emit, step.name), signing=key).run()
            if code != 0:
                return run.id, code
    return run.id, 0
