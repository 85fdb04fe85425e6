"""`rollback`: an earlier version goes live again, as the newest deployment there is."""

from __future__ import annotations

from modelyard.errors import RequestError
from modelyard.project import load
from modelyard.steps.context import StepContext
from modelyard.steps.deploy import roll_out
from modelyard.steps.results import Deployed
from modelyard.store import ModelVersion


def run(context: StepContext) -> Deployed:
    """Deploy the version that the Param ``version`` names, or the one that was live before the present one.

    Raises:
        RequestError: there is no such version, or it never got an image.
        DeploymentFailed: it did not come up; the present version still serves.
    """
    version = _wanted(context)
    if version.image_digest is None:
        raise RequestError(
            f"{version.name}:{version.version} was never released: it has no image",
            f"release it: trigger '{version.name}' with the Param version={version.version}",
        )
    return roll_out(context, version, workers=load(context.unpack_project(version.project_digest)).serving.workers)


def _wanted(context: StepContext) -> ModelVersion:
    model, environment = context.run.model, context.run.settings["environment"]
    # An earlier try of this run may have moved the alias already: what it began is what this run is about.
    begun = context.store.deployments.get(model, environment, context.run.sequence)
    number = context.run.params.get("version") if begun is None else begun.version
    if number is None:
        alias = context.store.aliases.get(model, environment)
        moves = () if alias is None else alias.history
        earlier = [
            move.from_version for move in moves if move.from_version not in {None, alias.version if alias else None}
        ]
        if not earlier:
            raise RequestError(
                f"Nothing was live in '{environment}' of '{model}' before", "name the version: the Param version"
            )
        number = earlier[-1]
    return context.store.versions.get(model, int(number))
