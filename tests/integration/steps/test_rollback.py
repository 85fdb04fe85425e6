"""A rollback goes to what was live in its environment before, and to nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.released_models import image_of, pipeline_run, release, version
from tests.step_context import context_of

from modelyard.errors import RequestError
from modelyard.steps import rollback
from modelyard.store import Store


def refused(store: Store, home: Path, number: int) -> RequestError:
    """Ask for a rollback of production, and return why it is refused."""
    settings = {"environment": "production", "target": "local", "protected": True, "approval": True}
    params = {"version": number, "environment": "production", "reason": "a test"}
    run = pipeline_run(store, "wine", f"rollback__{number}", params=params, settings=settings)
    with pytest.raises(RequestError) as caught:
        rollback.run(context_of(store, run, "rollback", home))
    assert store.deployments.get("wine", "production", run.sequence) is None
    return caught.value


def test_a_version_that_was_never_live_there_is_refused(store: Store, tmp_path: Path) -> None:
    first, second, said_no, to_staging = (version(store, run_id=run_id) for run_id in (1, 2, 3, 4))
    store.versions.set_image("wine", said_no.version, image_of(said_no.version))
    release(store, to_staging, environment="staging", generation=9)
    nothing = refused(store, tmp_path, said_no.version)
    assert "wine:3 was never live in 'production'" in nothing.message
    assert nothing.remedy == "release it: trigger 'wine' with version=3 and environment=production"

    release(store, first, generation=1)
    release(store, second, generation=2)
    failed = store.deployments.begin(
        model="wine",
        environment="production",
        generation=3,
        version=said_no.version,
        image_digest=image_of(said_no.version),
        target="local",
        by="ada",
        why="",
        pipeline_run=None,
    )
    store.deployments.finish(failed, "failed", error="not ready")
    for number in (said_no.version, to_staging.version):
        error = refused(store, tmp_path, number)
        assert f"wine:{number} was never live in 'production'" in error.message
        assert error.remedy is not None
        assert error.remedy.startswith("choose one of: 2, 1; or release it: ")
