"""`containerise`: the model image, from layers that mostly exist already. Packs bytes only; loads nothing."""

from __future__ import annotations

from modelyard.environments import EnvironmentRef
from modelyard.images.model_image import build_model_image
from modelyard.steps.context import StepContext
from modelyard.steps.results import Containerised, Prepared, Validated
from modelyard.store import ArtifactFile


def run(context: StepContext) -> Containerised:
    """Build the image and push it to the model's staging repository.

    Raises:
        ImageError: the registry refuses it; Unavailable: it cannot be reached.
        CorruptArtifact: the model's bytes are not what was registered.
    """
    prepared, version = context.result(Prepared), context.version()
    validated = context.result(Validated)
    project = context.unpack_project(version.project_digest)
    model = context.workdir / "model"
    context.store.artifacts.fetch_tree(version.model, model)
    if validated.compiled is not None:
        context.store.artifacts.fetch_tree([ArtifactFile(**file) for file in validated.compiled], model / "compiled")
    built = build_model_image(
        images=context.images,
        home=context.home,
        environment=EnvironmentRef(**prepared.environment),
        project=project,
        model=model,
        commit=version.commit,
        created=version.committed_at,
        log=context.log,
    )
    repository = f"staging/{context.run.model}"
    context.claim.check()
    digest = context.images.push(repository, built, tag=f"{context.run.id[:16]}-{context.run.clear_number}")
    context.log(f"Image {digest} in {repository}")
    return Containerised(
        version=version.version,
        repository=repository,
        image_digest=digest,
        layers=[{"kind": layer.kind, "digest": layer.digest, "size": layer.size} for layer in built.layers],
    )
