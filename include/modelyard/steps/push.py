"""`push`: what was tested is what is released: the same digest, in the release repository, under its version's tag."""

from __future__ import annotations

from modelyard.steps.context import StepContext
from modelyard.steps.results import Containerised, ImageTested, Pushed


def run(context: StepContext) -> Pushed:
    """Copy the tested image by digest; nothing is built again.

    Raises:
        ImageError: the version's tag exists with another digest; Unavailable: the registry cannot be reached.
    """
    built, tested = context.result(Containerised), context.result(ImageTested)
    model, version = context.run.model, tested.version
    context.claim.check()
    context.images.copy(built.repository, model, tested.image_digest)
    context.images.tag(model, tested.image_digest, str(version))
    context.store.versions.set_image(model, version, tested.image_digest, built.recipe)
    reference = f"{model}:{version}"
    context.log(f"Released {reference} as {tested.image_digest}")
    return Pushed(version=version, image_digest=tested.image_digest, reference=reference)
