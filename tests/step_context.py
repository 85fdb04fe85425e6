"""A step's context in a test's own process."""

from __future__ import annotations

from pathlib import Path

from modelyard.images import open_images
from modelyard.steps.context import StepContext
from modelyard.store import Claim, PipelineRun, Store


def context_of(store: Store, run: PipelineRun, step: str, home: Path) -> StepContext:
    """Claim a step of a pipeline run and return what its function is given."""
    claim = store.steps.claim(run.id, step, try_number=1, clear_number=0)
    assert isinstance(claim, Claim)
    workdir = home / "work" / f"{step}-{claim.fence}-{run.id[:8]}"
    workdir.mkdir(parents=True)
    return StepContext(
        store=store,
        images=open_images(store.address, home),
        run=run,
        claim=claim,
        workdir=workdir,
        home=home,
        beside={},
        git=None,
        log=print,
    )
