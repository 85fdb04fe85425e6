"""`train`: the Sacred experiment, run by its own code in its own environment, recorded as it goes."""

from __future__ import annotations

import time
from dataclasses import asdict

from modelyard import data
from modelyard.environments import read_lock
from modelyard.project import Project
from modelyard.recording.training import train
from modelyard.steps.context import StepContext
from modelyard.steps.results import Prepared, Trained


def run(context: StepContext) -> Trained:
    """Fetch the declared data, run the entry, and keep model, data and artifacts by digest.

    Raises:
        TrainingFailed: the project's code failed; its output is in the task's log and in the run.
        RequestError: data that are not there or not readable.
    """
    prepared = context.result(Prepared)
    project = Project.model_validate(prepared.project)
    folder = context.unpack_project(prepared.tree_digest)
    lock = None if project.lock is None else read_lock(folder / project.lock)
    python = context.python(prepared.environment)

    files = context.workdir / "data"
    files.mkdir()
    fingerprints, paths = [], {}
    for name, declared in project.data.items():
        uri = context.data_uri(name, declared)
        path = data.fetch(uri, folder, files, name, context.store.address, hidden=context.hidden)
        fingerprint = data.fingerprint(path, name=name, role=declared.role, uri=uri, target=declared.target)
        context.store.artifacts.put_file(path)
        context.log(f"data.{name}: {fingerprint.uri}: {fingerprint.rows} rows, {fingerprint.digest[:19]}")
        fingerprints.append(fingerprint)
        paths[name] = path

    started = time.monotonic()
    finished = train(
        store=context.store,
        pipeline_run=context.run.id,
        clear_number=context.run.clear_number,
        project=folder,
        entry=project.entry,
        python=python,
        config_updates=prepared.config_updates,
        data_paths=paths,
        data=fingerprints,
        seed=project.seed,
        commit=prepared.commit,
        dirty=prepared.dirty,
        lock=lock,
        hidden=context.hidden,
        workdir=context.workdir,
        log=context.log,
    )
    return Trained(
        run_id=finished.run_id,
        model=[asdict(file) for file in finished.model],
        data=[asdict(fingerprint) for fingerprint in finished.data],
        artifacts={name: asdict(file) for name, file in finished.artifacts.items()},
        package_differences=list(finished.package_differences),
        seconds=round(time.monotonic() - started, 3),
    )
