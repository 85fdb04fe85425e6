"""``modelyard services remove``: a service of this machine is taken off, and the store says so."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelyard.errors import RequestError
from modelyard.store.address import StoreAddress, home_folder

if TYPE_CHECKING:
    from modelyard.deployment import Live
    from modelyard.store import Store


@click.command("remove")
@click.argument("model")
@click.argument("environment", required=False)
def remove_service(model: str, environment: str | None) -> None:
    """Take MODEL off this machine: its service ends for good, and the store says that none is live in ENVIRONMENT.

    ENVIRONMENT can be left out where there is one alone. The version stays in the store; a new run deploys it again.
    """
    from modelyard import embedded
    from modelyard.deployment import open_target
    from modelyard.images import open_images
    from modelyard.store import Store

    home = home_folder(os.environ)
    live = _chosen(home, model, environment)
    if not os.environ.get("MODELYARD_MONGO_URI"):
        embedded.start(home / "mongo")
    address = StoreAddress.from_environment(os.environ)
    with Store.open(address) as store:
        _record(store, live)  # first, as whoever is broken off in between finds the service still, and tries again
        open_target("local", home, open_images(address, home)).remove(model, live.environment)
    click.echo(f"Version {live.version} of {model} serves in '{live.environment}' no more.")


def _chosen(home: Path, model: str, environment: str | None) -> Live:
    from modelyard.deployment.local import services

    known = {live.environment: live for live in services(home) if live.model == model}
    if environment is None and len(known) == 1:
        environment = next(iter(known))
    if environment not in known:
        where = f"it has one in: {', '.join(known)}" if known else "it has none"
        raise RequestError(
            f"Which service of {model} on this machine is meant? {where}",
            "name its environment; `modelyard services` shows all there are",
        )
    return known[environment]


def _record(store: Store, live: Live) -> None:
    """Write down that nothing is live there, unless what the store takes for live is another one than this."""
    deployment = store.deployments.live(live.model, live.environment)
    this = ("local", live.generation, live.image_digest)
    if deployment is None or (deployment.target, deployment.generation, deployment.image_digest) != this:
        return
    store.aliases.move(live.model, live.environment, to=None, by=getpass.getuser(), why="modelyard services remove")
    store.deployments.finish(deployment, "replaced")
