"""A finished run becomes a version: a candidate that any pipeline run may release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from modelyard.client.loaded import FACTS
from modelyard.errors import TrainingFailed
from modelyard.store import ArtifactFile, DataFingerprint, ModelVersion, Store

JSON = dict[str, Any]


def register(
    store: Store,
    *,
    name: str,
    run_id: int,
    model: Sequence[ArtifactFile],
    data: Sequence[DataFingerprint],
    artifacts: Mapping[str, ArtifactFile],
    commit: str | None,
    committed_at: datetime | None,
    dirty: bool,
    diff_digest: str | None,
    project_digest: str,
    lock_digest: str | None,
    environment: JSON | None,
    package_differences: Sequence[str],
    created_by: str,
    pipeline_run: str | None,
    tags: Sequence[str] = (),
) -> ModelVersion:
    """Write into the run which files it made, and keep it as the next version of the model; once, however often called.

    Signature, metrics (the last value of each) and config are read from what the store has; the other arguments are
    ``ModelVersion``'s own.

    Raises:
        TrainingFailed: the run is not COMPLETED.
        NotFound: there is no such run, or an artifact is not there.
        Conflict: the run is a version already, with another model in it.
    """
    run = store.runs.get(run_id)
    if run["status"] != "COMPLETED":
        raise TrainingFailed(
            f"Sacred run {run_id} is {run['status']}, not COMPLETED", "look at its output, and train again"
        )
    kept = [*(file.digest for file in (*model, *artifacts.values())), *(item.digest for item in data), project_digest]
    store.artifacts.keep(kept if diff_digest is None else [*kept, diff_digest])
    facts = next(file for file in model if file.path == FACTS)
    signature = store.artifacts.read_json(facts.digest)["signature"]
    store.runs.reference_artifacts(
        run_id,
        {
            **artifacts,
            **{f"model/{file.path}": file for file in model},
            **{f"data/{item.name}": ArtifactFile(item.name, item.digest, item.size) for item in data},
        },
    )
    metrics = {
        metric: points["values"][-1] for metric, points in store.runs.metrics(run_id).items() if points["values"]
    }
    return store.versions.register(
        ModelVersion(
            name=name,
            version=0,
            run_id=run_id,
            commit=commit,
            committed_at=committed_at,
            dirty=dirty,
            diff_digest=diff_digest,
            project_digest=project_digest,
            lock_digest=lock_digest,
            environment=environment,
            package_differences=tuple(package_differences),
            data=tuple(data),
            model=tuple(model),
            signature=signature,
            metrics={metric: float(value) for metric, value in metrics.items() if isinstance(value, int | float)},
            config=run["config"],
            created_by=created_by,
            pipeline_run=pipeline_run,
            created_at=datetime.now(UTC),
            tags=tuple(tags),
        )
    )
