"""``modelyard image``: images of models, and Modelyard's own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from modelyard.errors import ImageError
from modelyard.here import open_address
from modelyard.store.address import StoreAddress, home_folder
from modelyard.terminal import progress
from modelyard.version_choice import METAVAR, chosen_version

if TYPE_CHECKING:
    from modelyard.steps.rebuild import Verdict

_SHOWN = 20  # files of a layer
_NOT_FULLY_COMPARED = 3  # the exit code; 0: reproduced, 65: something differs


@click.group()
def image() -> None:
    """Images of released versions, and Modelyard's own."""


@image.command()
@click.option("--push", "reference", metavar="REF", required=True, help="Name of the image: host[:port]/repository:tag")
@click.option("--base", metavar="REF", help="Image below it. Default: MODELYARD_BASE_IMAGE, or python:X.Y-slim.")
def runner(reference: str, base: str | None) -> None:
    """Build the image that the pipeline's steps run in, and push it to a registry. Needs no Docker.

    It holds this Modelyard with the packages installed here. MODELYARD_REGISTRY_USERNAME, _PASSWORD, _INSECURE and
    _CA_BUNDLE are for the registry it goes to, unless MODELYARD_REGISTRY names another one; Docker's logins count too.
    """
    from modelyard.images.base import base_name, pull_base, split_reference
    from modelyard.images.interpreter import Interpreter
    from modelyard.images.layout import Layout
    from modelyard.images.open import compression_of
    from modelyard.images.registry import Registry
    from modelyard.images.runner import build_runner_image
    from modelyard.images.transport import Transport

    host, repository, tag = split_reference(reference)
    if tag.startswith("sha256:"):
        raise click.BadParameter("give it a tag: its digest is known when it is built", param_hint="--push")
    home = home_folder(os.environ)
    address = _address(host)
    below = base or base_name(address, Interpreter.of_this_machine().python)
    compression = compression_of(address)
    images = Layout(home / "images", compression)
    built = build_runner_image(images, home, pull_base(below, images, address, home), progress)
    registry = Registry(Transport.to(host, address), "", home / "cache" / "layers", compression)
    digest = registry.push(repository, built, tag)
    click.echo(registry.reference(repository, digest))


@image.command()
@click.argument("what", metavar=METAVAR)
@click.option("--verify", is_flag=True, help="Push nothing: compare it with the image that was released.")
def rebuild(what: str, verify: bool) -> None:
    """Make a released version's image once more, from its commit, lock, base image and model alone.

    All packages are fetched and installed anew, with an empty cache. The image is put back under its version's tag,
    when it is the one that was released: for a registry that has lost it. With --verify it is only compared: each layer
    that differs is told, with its files, and the command ends with 65.

    What Modelyard itself brings can't be the same when another release of it, or of Python, has built the image: that
    is told, and the rest is compared. When nothing of that differs, the command ends with 3: not fully compared.
    """
    from modelyard.images import open_images
    from modelyard.steps.rebuild import compare, rebuilt
    from modelyard.store import Store

    home = home_folder(os.environ)
    address = open_address(os.environ)
    images = open_images(address, home)
    os.environ.pop("UV_CACHE_DIR", None)  # else uv would take packages from there
    with Store.open(address) as store:
        version, digest = chosen_version(store, what)
        name = f"{version.name}:{version.version}"
        released = images.pull_whole(version.name, digest) if verify else None
        progress(f"{name} was released as {digest}")
        with rebuilt(
            version, artifacts=store.artifacts, images=images, address=address, home=home, log=progress
        ) as again:
            if released is not None:
                verdict = compare(released, again)
            elif again.image.digest == digest:
                images.push(version.name, again.image, str(version.version))
            else:
                raise ImageError(
                    f"{name} is {digest}, and what was built is {again.image.digest}: it is not put back",
                    f"see why: modelyard image rebuild {name} --verify; the Modelyard that built it builds the same",
                )
    if released is None:
        click.echo(f"{images.reference(version.name, digest)} is there as it was released.")
    else:
        _show(name, verdict, identical=again.image.digest == digest)


def _show(name: str, verdict: Verdict, *, identical: bool) -> None:
    """Say in what the images differ; ImageError when they do, another exit code when not all could be compared."""
    from modelyard.images.difference import DIFFERS

    for line in verdict.not_compared:
        click.echo(f"Not compared: {line}")
    if identical:
        click.echo(f"{name} is reproduced: built anew, it has the same digest.")
        return
    if verdict.same and not verdict.not_compared:
        click.echo(
            f"{name} is reproduced: built anew, it has layers of the same diff ids in the same order. Its digest is "
            "another one only because a compressor has written other bytes of the same tars."
        )
        return
    if verdict.same:
        click.echo(f"{name} is not fully compared: nothing differs in the rest, and for the above there is no proof.")
        click.get_current_context().exit(_NOT_FULLY_COMPARED)
    lines = [f"{name} is not what its inputs make:", *verdict.settings]
    for layer in verdict.layers:
        lines += [f"layer {layer.layer} {layer.what}{':' if layer.files else ''}"]
        lines += [f"  {file}" for file in layer.files[:_SHOWN]]
        if len(layer.files) > _SHOWN:
            lines.append(f"  and {len(layer.files) - _SHOWN} more")
        if layer.what == DIFFERS and not layer.files:
            lines.append("  the same files, packed in another way")
    raise ImageError(
        "\n".join(lines), "do not deploy it before somebody has looked: what was released was not built from its commit"
    )


@image.command()
@click.argument("what", metavar=METAVAR)
@click.option("--base", metavar="REF", help="Image below one that has none; by default as for `runner`.")
def load(what: str, base: str | None) -> None:
    """Put a released version's image into a Docker engine, without a registry between: then `docker run` serves it.

    NAME alone is its newest version that has an image. The engine is the one of DOCKER_HOST, or this machine's.
    An image that is kept in a folder, for this machine's own Python, is put on a base image first.
    """
    from modelyard.docker_engine import connect
    from modelyard.docker_engine import load as load_into
    from modelyard.images import open_images
    from modelyard.images.docker_archive import docker_archive, on_base
    from modelyard.images.layout import Layout
    from modelyard.store import Store

    home = home_folder(os.environ)
    address = open_address(os.environ)
    client = connect()
    with Store.open(address) as store:
        images = open_images(address, home, pardon=store.pardon_image)
        version, digest = chosen_version(store, what)
        facts = store.artifacts.read_json(version.file("modelyard.json").digest)
        found = images.pull(version.name, digest)
        if isinstance(images, Layout):
            from modelyard.images.base import base_name, pull_base

            python = ".".join(facts["python"].split(".")[:2])
            below = base or base_name(address, python)
            progress(f"It has nothing below it: putting it on {below}")
            found = on_base(found, pull_base(below, images, address, home), images, python)
        elif base is not None:
            raise click.BadParameter("this image lies on one already", param_hint="--base")
    name = f"{version.name}:{version.version}"
    load_into(client, docker_archive(found, name, progress))
    click.echo(f"docker run --rm -p 8080:8080 {name}")


def _address(host: str) -> StoreAddress:
    """The registry's account, from the environment; an image takes no database."""
    given = {name: value for name, value in os.environ.items() if value}
    return StoreAddress.from_environment({"MODELYARD_MONGO_URI": "mongodb://none", "MODELYARD_REGISTRY": host, **given})
