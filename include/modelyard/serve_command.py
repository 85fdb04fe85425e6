"""``modelyard serve``: a version's own server at this machine's loopback address, in the foreground."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelyard.store.address import home_folder

if TYPE_CHECKING:
    from modelyard.store import ModelVersion, Store

_NAME = re.compile(r"(?P<name>[a-z][a-z0-9-]*)(:(?P<version>[0-9]+)|@(?P<alias>[^@:\s]+))?")
_SEARCHED = 100  # of the newest versions, for one that has an image


@click.command()
@click.argument("what", metavar="NAME[:VERSION|@ALIAS]")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any that is free.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes with the model.")
@click.option(
    "--tokens-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of tokens, one a line; whoever asks has to send one. MODELYARD_TOKENS holds some, too.",
)
def serve(what: str, port: int, host: str, workers: int, tokens_file: Path | None) -> None:
    """Serve a released version here, by the very server of its image, until Ctrl-C.

    NAME alone is its newest version that has an image. NAME@production is the version that is live in production.
    """
    from modelyard import embedded
    from modelyard.deployment.foreground import serve_image
    from modelyard.images import open_images
    from modelyard.images.unpack import unpack_model_image
    from modelyard.store import Store, StoreAddress

    home = home_folder(os.environ)
    if not os.environ.get("MODELYARD_MONGO_URI"):
        embedded.start(home / "mongo")
    address = StoreAddress.from_environment(os.environ)
    with Store.open(address) as store:
        version, digest = _chosen(store, what)
    root = unpack_model_image(open_images(address, home), version.name, digest, home)
    settings = {} if tokens_file is None else {"MODELYARD_TOKENS_FILE": str(tokens_file.resolve())}

    def listening(address: str) -> None:
        click.secho(f"{version.name}:{version.version} at {address} until Ctrl-C; /docs tells how to ask", err=True)

    code = serve_image(
        root, version, digest, home=home, host=host, port=port, workers=workers, settings=settings, told=listening
    )
    click.get_current_context().exit(code)


def _chosen(store: Store, what: str) -> tuple[ModelVersion, str]:
    """Return the version that is asked for, and the digest of its image."""
    from modelyard.errors import NotFound

    found = _NAME.fullmatch(what)
    if found is None:
        raise click.BadParameter(
            f"'{what}' is not NAME, NAME:VERSION or NAME@ALIAS", param_hint="NAME[:VERSION|@ALIAS]"
        )
    name, number, alias = found["name"], found["version"], found["alias"]
    if number is None and alias is None:
        page = store.versions.find(name=name, limit=_SEARCHED)
        version = next((one for one in page.versions if one.image_digest is not None), None)
        if version is None:
            raise NotFound(f"{name} has no released version", f"release one: modelyard run FOLDER of {name}")
    elif alias is not None:
        moved = store.aliases.get(name, alias)
        if moved is None or moved.version is None:
            known = ", ".join(one.alias for one in store.aliases.of(name) if one.version is not None) or "none"
            raise NotFound(f"{name} has no alias '{alias}'; it has: {known}", f"see: modelyard versions {name}")
        version = store.versions.get(name, moved.version)
    else:
        version = store.versions.get(name, int(number))
    if version.image_digest is None:
        raise NotFound(
            f"{name}:{version.version} is a candidate: it has no image yet",
            f"release it first: modelyard run FOLDER version={version.version}",
        )
    return version, version.image_digest
