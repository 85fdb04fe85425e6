"""`push`: what was tested is what is released: the same digest, in the release repository, under its version's tag.

With its bill of materials, its provenance and, where the store has a signing key, its signature beside it.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from modelyard.environments import Pin, read_lock, server_lock
from modelyard.steps.context import StepContext
from modelyard.steps.results import Containerised, ImageTested, Prepared, Pushed, Validated
from modelyard.supply_chain.release import attach


def run(context: StepContext) -> Pushed:
    """Copy the tested image by digest; nothing is built again.

    Raises:
        ImageError: the version's tag exists with another digest; Unavailable: the registry cannot be reached.
        RequestError: the signing key cannot be opened.
    """
    built, tested = context.result(Containerised), context.result(ImageTested)
    model, version = context.run.model, tested.version
    context.claim.check()
    context.images.copy(built.repository, model, tested.image_digest)
    # Before it has its tag: who finds the version finds all of this.
    attached = attach(
        images=context.images,
        digest=tested.image_digest,
        version=context.store.versions.get(model, version),
        run=context.run,
        built=_built(context),
        report=context.result(Validated).report["json"],
        pins=_pins(context),
        key=context.signing,
        log=context.log,
    )
    context.claim.check()
    context.images.tag(model, tested.image_digest, str(version))
    context.store.versions.set_image(model, version, tested.image_digest, built.recipe, asdict(attached))
    reference = f"{model}:{version}"
    context.log(f"Released {reference} as {tested.image_digest}")
    return Pushed(
        version=version,
        image_digest=tested.image_digest,
        reference=reference,
        signed_by=attached.signed_by,
    )


def _built(context: StepContext) -> datetime:
    record = context.store.steps.get(context.run.id, "containerise")
    assert record is not None  # noqa: S101 - its result was read
    assert record.finished_at is not None  # noqa: S101
    return record.finished_at


def _pins(context: StepContext) -> list[Pin]:
    """Return the pins of all packages that the image's own layers may have: the server's, and the project's."""
    prepared = context.result(Prepared)
    lock = prepared.project.get("lock")
    if lock is None:  # what its Dockerfile has installed lies in the image's own layers
        return list(server_lock().requirements)
    project = context.unpack_project(prepared.tree_digest)
    return [*server_lock().requirements, *read_lock(project / lock).requirements]
