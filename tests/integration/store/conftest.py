"""A model version to vary."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from modelyard.store import ArtifactFile, DataFingerprint, ModelVersion

DIGEST = f"sha256:{'0' * 64}"
VERSION = ModelVersion(
    name="wine",
    version=0,
    run_id=1,
    commit="abc" + "0" * 37,
    dirty=False,
    diff_digest=None,
    project_digest=DIGEST,
    lock_digest=DIGEST,
    environment={"lock_digest": DIGEST, "python": "3.11"},
    package_differences=("scikit-learn 1.6.1 is installed, the lock says 1.7.2",),
    data=(DataFingerprint("train", "train", "data.csv", DIGEST, 10, 2, ("a", "b.c"), "b.c", "csv"),),
    model=(ArtifactFile("model.joblib", DIGEST, 10),),
    signature={"kind": "columns", "inputs": [{"name": "a.b", "datatype": "FP64", "shape": [-1]}], "outputs": []},
    metrics={"accuracy": 0.9, "val.loss": 0.5},
    config={"model": {"C": 0.5, "$weird": None}, "seed": 2**70, "layers": [1, 2]},
    created_by="anna",
    pipeline_run=None,
    created_at=datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC),
    tags=("demo",),
)


@pytest.fixture
def a_version() -> Callable[..., ModelVersion]:
    """Return a function that gives a version with some fields changed."""
    from dataclasses import replace

    def make(**changes: Any) -> ModelVersion:
        return replace(VERSION, **changes)

    return make
