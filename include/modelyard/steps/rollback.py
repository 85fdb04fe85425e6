"""`rollback`: an earlier version goes live again, as the newest deployment there is."""

from __future__ import annotations

from modelyard.errors import RequestError
from modelyard.project import load
from modelyard.steps.context import StepContext
from modelyard.steps.deploy import roll_out
from modelyard.steps.results import Deployed

_TOLD = 20  # versions that a refusal names, the last ones that were live


def run(context: StepContext) -> Deployed:
    """Deploy the version that the Param ``version`` names.

    Whatever an environment asks of a version (gates, a clean commit, a person's yes), one that was live there had it;
    an image alone says nothing of that: `push` comes before the approval, and for every environment.

    Raises:
        NotFound: there is no such version; RequestError: it was never live in this environment.
        DeploymentFailed: it did not come up; the present version still serves.
        ImageError: it is not signed by the store's verification key.
    """
    environment = context.run.settings["environment"]
    version = context.store.versions.get(context.run.model, int(context.run.params["version"]))
    served = context.store.deployments.served(version.name, environment)
    if version.version not in served:
        release = f"release it: trigger '{version.name}' with version={version.version} and environment={environment}"
        raise RequestError(
            f"{version.name}:{version.version} was never live in '{environment}': nothing can be rolled back to it",
            f"choose one of: {', '.join(map(str, served[:_TOLD]))}; or {release}" if served else release,
        )
    return roll_out(context, version, load(context.unpack_project(version.project_digest)).serving)
