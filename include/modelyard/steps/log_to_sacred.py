"""`log_to_sacred`: the finished run becomes an immutable model version."""

from __future__ import annotations

from datetime import datetime

from modelyard.errors import TrainingFailed
from modelyard.recording.candidate import register
from modelyard.steps.context import StepContext
from modelyard.steps.results import Logged, Prepared, Trained
from modelyard.store import ArtifactFile, DataFingerprint
from modelyard.store.codec import from_document


def run(context: StepContext) -> Logged:
    """Check that the run is whole, write the artifacts' reference into its info, register the version.

    Raises:
        TrainingFailed: the run is not COMPLETED; CorruptArtifact, NotFound: bytes that it names are not there.
    """
    prepared, trained = context.result(Prepared), context.result(Trained)
    run = context.store.runs.get(trained.run_id)
    if run["status"] != "COMPLETED" or not run.get("stop_time"):
        raise TrainingFailed(
            f"Sacred run {trained.run_id} is {run['status']}, not COMPLETED",
            "look at its output, then clear the task 'train'",
        )
    model = tuple(ArtifactFile(**file) for file in trained.model)
    data = tuple(from_document(DataFingerprint, item) for item in trained.data)
    context.claim.check()
    version = register(
        context.store,
        run_id=trained.run_id,
        name=context.run.model,
        model=model,
        data=data,
        artifacts={name: ArtifactFile(**file) for name, file in trained.artifacts.items()},
        commit=prepared.commit,
        committed_at=None if prepared.committed_at is None else datetime.fromisoformat(prepared.committed_at),
        dirty=prepared.dirty,
        diff_digest=prepared.diff_digest,
        project_digest=prepared.tree_digest,
        lock_digest=prepared.lock_digest,
        environment=prepared.environment,
        package_differences=tuple(trained.package_differences),
        created_by=context.run.started_by,
        pipeline_run=context.run.id,
        tags=tuple(prepared.project.get("tags", ())),
    )
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in sorted(version.metrics.items()))
    context.log(
        f"Sacred run {version.run_id} is {version.name}:{version.version}" + (f" ({metrics})" if metrics else "")
    )
    return Logged(run_id=version.run_id, version=version.version)
