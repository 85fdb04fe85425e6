"""`containerise`: the model image, from layers that mostly exist already. Packs bytes only; loads nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import modelyard
from modelyard.environments import EnvironmentRef, ensure_server
from modelyard.errors import Unavailable
from modelyard.images import repositories
from modelyard.images.model_image import PlatformParts, build_model_image
from modelyard.images.recipe import ImageRecipe
from modelyard.steps.context import StepContext
from modelyard.steps.results import Containerised, Prepared, Validated
from modelyard.store import ArtifactFile, ModelVersion
from modelyard.uri import shown

if TYPE_CHECKING:
    from pathlib import Path

    from modelyard.images.base import Base
    from modelyard.store.artifacts import Artifacts


def run(context: StepContext) -> Containerised:
    """Build the image and push it to the model's staging repository.

    Raises:
        ImageError: the registry refuses it, or there is no such base image; Unavailable: one cannot be reached.
        EnvironmentBuildError: the base image has another Python than the environment.
        CorruptArtifact: the model's bytes are not what was registered.
    """
    prepared, version = context.result(Prepared), context.version()
    validated = context.result(Validated)
    project = context.unpack_project(version.project_digest)
    model = context.workdir / "model"
    lay_model(context.store.artifacts, version, validated.compiled, model)
    environments = [EnvironmentRef(**one) for one in (prepared.environment, *prepared.elsewhere)]
    parts = [
        PlatformParts(
            one,
            ensure_server(context.images, context.home, context.log, one.python, one.platform),
            _base(context, one),
        )
        for one in environments
    ]
    # A candidate was trained from somebody's folder, whatever repository this pipeline has the project from.
    git = context.run.project.get("git") if version.pipeline_run == context.run.id else None
    source = None if git is None else shown(git)
    built = build_model_image(
        parts,
        images=context.images,
        project=project,
        model=model,
        commit=version.commit,
        created=version.committed_at,
        source=source,
        log=context.log,
        compiled=validated.compiled is not None,
    )
    made_of: list[dict[str, Any]] = [
        {
            "environment": one.environment.to_json(),
            "server": one.server.to_json(),
            "base": None if one.base is None else one.base.reference,
        }
        for one in parts
    ]
    recipe = ImageRecipe(
        modelyard=modelyard.__version__,
        compression=context.images.compression,
        compiled=validated.compiled,
        elsewhere=made_of[1:],
        source=source,
        **made_of[0],
    )
    repository = repositories.staging(context.run.model)
    context.claim.check()
    tag = repositories.staging_tag(context.run.id, context.run.clear_number)
    digest = context.images.push(repository, built, tag)
    context.log(f"Image {digest} in {repository}")
    return Containerised(
        version=version.version,
        repository=repository,
        image_digest=digest,
        layers=[
            {"kind": layer.kind, "digest": layer.digest, "size": layer.size}
            for layer in dict.fromkeys(layer for image in built.images for layer in image.layers)
        ],
        recipe=recipe.to_json(),
        platforms=[image.platform for image in built.images],
    )


def lay_model(artifacts: Artifacts, version: ModelVersion, compiled: list[dict[str, Any]] | None, folder: Path) -> None:
    """Fetch what is served of a version into the new ``folder``: its model, or the ``compiled`` one's files.

    Raises:
        NotFound: a file is not in the store; CorruptArtifact: it is not what was registered.
    """
    if compiled is None:
        artifacts.fetch_tree(version.model, folder)
    else:
        artifacts.fetch_tree([version.file("modelyard.json")], folder)
        artifacts.fetch_tree([ArtifactFile(**file) for file in compiled], folder / "compiled")


def _base(context: StepContext, environment: EnvironmentRef) -> Base | None:
    """What is below an image that others pull; one in a folder is run by this machine's interpreter."""
    if environment.reference is None:
        return None
    from modelyard.images.base import base_name, pull_base

    address = context.store.address
    if environment.executable is not None:
        return pull_base(environment.reference, context.images, address, context.home)
    name = base_name(address, environment.python)
    try:
        base = pull_base(name, context.images, address, context.home, environment.platform)
    except Unavailable as error:
        raise Unavailable(
            f"The base image {name} is not to be had: {error.message}",
            "try again later, or name one in a registry that can be reached (base_image, MODELYARD_BASE_IMAGE)",
        ) from error
    context.log(f"Base image {name}, {base.image.digest[:19]}, Python {base.interpreter.version}")
    return base
