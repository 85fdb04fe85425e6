"""``modelyard image``: Modelyard's own images."""

from __future__ import annotations

import os

import click

from modelyard.store.address import StoreAddress, home_folder


@click.group()
def image() -> None:
    """Make Modelyard's own images."""


@image.command()
@click.option("--push", "reference", metavar="REF", required=True, help="Name of the image: host[:port]/repository:tag")
@click.option("--base", metavar="REF", help="Image below it. Default: MODELYARD_BASE_IMAGE, or python:X.Y-slim.")
def runner(reference: str, base: str | None) -> None:
    """Build the image that the pipeline's steps run in, and push it to a registry. Needs no Docker.

    It holds this Modelyard with the packages installed here. MODELYARD_REGISTRY_USERNAME, _PASSWORD, _INSECURE and
    _CA_BUNDLE are for the registry it goes to, unless MODELYARD_REGISTRY names another one; Docker's logins count too.
    """
    from modelyard.images.base import pull_base, split_reference
    from modelyard.images.interpreter import Interpreter
    from modelyard.images.layout import Layout
    from modelyard.images.registry import Registry
    from modelyard.images.runner import build_runner_image
    from modelyard.images.transport import Transport

    host, repository, tag = split_reference(reference)
    if tag.startswith("sha256:"):
        raise click.BadParameter("give it a tag: its digest is known when it is built", param_hint="--push")
    home = home_folder(os.environ)
    address = _address(host)
    below = base or address.base_image or f"python:{Interpreter.of_this_machine().python}-slim"
    images = Layout(home / "images")
    built = build_runner_image(images, home, pull_base(below, images, address, home), _progress)
    registry = Registry(Transport.to(host, address), "", home / "cache" / "layers")
    digest = registry.push(repository, built, tag)
    click.echo(registry.reference(repository, digest))


def _address(host: str) -> StoreAddress:
    """The registry's account, from the environment; an image takes no database."""
    given = {name: value for name, value in os.environ.items() if value}
    return StoreAddress.from_environment({"MODELYARD_MONGO_URI": "mongodb://none", "MODELYARD_REGISTRY": host, **given})


def _progress(line: str) -> None:
    click.secho(line, dim=True, err=True)
