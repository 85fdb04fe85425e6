"""Runs the Sacred experiment of a project in the project's own environment, and records it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard import process
from modelyard.client.child import environment, given, lay_client
from modelyard.client.relay import VARIABLE
from modelyard.environments import Lock, differences
from modelyard.errors import TrainingFailed
from modelyard.recording import child
from modelyard.recording.notebook import EXECUTED, prepare_notebook
from modelyard.recording.recorder import Recorder
from modelyard.recording.run import RecordedRun
from modelyard.store import ArtifactFile, DataFingerprint, Store
from modelyard.store.codec import from_document

JSON = dict[str, Any]


@dataclass(frozen=True)
class Finished:
    """One run that is COMPLETED, with its model; all of it is in the store.

    Attributes:
        package_differences: what was not as the lock says, as sentences.
    """

    run_id: int
    model: tuple[ArtifactFile, ...]
    data: tuple[DataFingerprint, ...]
    artifacts: dict[str, ArtifactFile]
    package_differences: tuple[str, ...]


def train(
    *,
    store: Store,
    pipeline_run: str | None,
    clear_number: int,
    project: Path,
    entry: str,
    python: Path,
    config_updates: Mapping[str, Any],
    data_paths: Mapping[str, Path],
    data: Sequence[DataFingerprint],
    seed: int | None,
    commit: str | None,
    dirty: bool,
    lock: Lock | None,
    hidden: Sequence[Path],
    workdir: Path,
    log: Callable[[str], None],
) -> Finished:
    """Run the entry, record its run live, and return what it left.

    A run that an earlier try has completed is taken up; those it has abandoned are marked INTERRUPTED. The project's
    process has no credential in its environment and cannot look into this one.

    Args:
        store: where all goes.
        pipeline_run: the pipeline run this is part of, None for a training by hand.
        clear_number: how often a person has cleared that pipeline run: each time it may be trained anew.
        project: the project's folder; its process runs there.
        entry: ``train.py`` or ``train.ipynb``.
        python: the interpreter of the project's environment.
        config_updates: Sacred config by dotted path.
        data_paths: where each declared data set is; the experiment gets them as ``data.<name>``.
        data: the fingerprints of these.
        seed: the run's seed, None to leave it to the experiment.
        commit: of the code, None when it is in none.
        dirty: whether the code differs from that commit.
        lock: the packages that should be there.
        hidden: files and folders that the project's process shall not read.
        workdir: a folder for what comes up on the way.
        log: takes each line of the project's output.

    Raises:
        TrainingFailed: the project's code failed, or left no model; its output was logged.
        Unavailable: the store cannot be reached.
    """
    process.hide()
    if pipeline_run is not None:
        done = store.runs.completed(pipeline_run, clear_number)
        if done is not None and done["info"]["modelyard"]["left"]["model"] is not None:
            log(f"Sacred run {done['_id']} was completed by an earlier try: it is taken up as it is")
            return _taken_up(done, data, lock)
        for run_id in store.runs.unfinished(pipeline_run):
            store.runs.interrupt(run_id, "the try of the step that recorded it has ended; a newer one takes its place")
            log(f"Sacred run {run_id} of an earlier try is marked INTERRUPTED")
    updates = {**config_updates, **{f"data.{name}": str(path) for name, path in data_paths.items()}}
    if seed is not None:
        updates["seed"] = seed
    repository = None if commit is None else {"url": project.name, "commit": commit, "dirty": dirty}
    stamp = {} if pipeline_run is None else {"pipeline_run": pipeline_run, "clear_number": clear_number}
    private = Path(tempfile.mkdtemp(prefix="training-", dir=workdir))
    client = lay_client(private / "client")
    home = private / "home"
    home.mkdir()
    with Recorder(store, log, private, stamp=stamp, repository=repository, expected=updates) as recorder:
        variables = environment(python, home, code=[client], **{VARIABLE: recorder.address})
        notebook = entry.endswith(".ipynb")
        if notebook:
            command = prepare_notebook(project / entry, private, updates, python, variables)
            variables = environment(Path(sys.executable), home, code=[])
        else:
            command = [str(python), "-P", "-m", "modelyard.client.launch", entry, *_arguments(updates)]
        returncode = child.run(command, cwd=project, environment=variables | given(), hidden=hidden, log=log)
        status, how = child.ended(returncode)
        runs = recorder.finish(status, f"its process {how}")
    run, model = _the_run(runs, entry, how, returncode)
    artifacts = dict(run.artifacts)
    if notebook:
        executed = private / EXECUTED
        artifacts[Path(entry).name] = store.artifacts.put_file(executed, Path(entry).name)
    return Finished(
        run_id=run.run_id,
        model=model,
        data=(*data, *run.data),
        artifacts=artifacts,
        package_differences=() if lock is None else tuple(differences(lock, run.packages)),
    )


def _taken_up(run: JSON, data: Sequence[DataFingerprint], lock: Lock | None) -> Finished:
    left = run["info"]["modelyard"]["left"]
    logged = (from_document(DataFingerprint, item) for item in left["data"])
    packages = {item["name"]: item["version"] for item in left["packages"]}
    return Finished(
        run_id=run["_id"],
        model=tuple(ArtifactFile(**file) for file in left["model"]),
        data=(*data, *logged),
        artifacts={item["name"]: ArtifactFile(**item["file"]) for item in left["artifacts"]},
        package_differences=() if lock is None else tuple(differences(lock, packages)),
    )


def _arguments(updates: Mapping[str, Any]) -> list[str]:
    # Sacred reads each value as a Python literal: repr writes one for whatever JSON can hold.
    return ["with", *(f"{path}={value!r}" for path, value in updates.items())] if updates else []


def _the_run(
    runs: Sequence[RecordedRun], entry: str, how: str, returncode: int
) -> tuple[RecordedRun, tuple[ArtifactFile, ...]]:
    """Return the one run that logged a model, and that model."""
    failed = [run for run in runs if run.status != "COMPLETED"]
    if returncode != 0 or failed:
        trace = "".join(failed[-1].fail_trace).strip() if failed else ""
        number = f" (Sacred run {failed[-1].run_id})" if failed else ""
        raise TrainingFailed(
            f"{entry} {how}{number}" + (f"\n{trace}" if trace else ""),
            "correct what its output shows; it is in this task's log and in the run",
        )
    if not runs:
        raise TrainingFailed(
            f"{entry} has ended without running a Sacred experiment",
            "run it when the file is: @ex.automain in a script, ex.run(config_updates=config_updates) in a notebook",
        )
    trained = [(run, run.model) for run in runs if run.model is not None]
    if not trained:
        raise TrainingFailed(
            f"{entry} has logged no model", "call modelyard.log_model(_run, model, example=X[:5]) in the experiment"
        )
    if len(trained) > 1:
        numbers = ", ".join(str(run.run_id) for run, _ in trained)
        raise TrainingFailed(
            f"{entry} has logged a model in each of the Sacred runs {numbers}", "let the entry make one run a training"
        )
    return trained[0]
