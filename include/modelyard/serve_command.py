"""``modelyard serve``: a version's own server at this machine's loopback address, in the foreground."""

from __future__ import annotations

import os
from pathlib import Path

import click

from modelyard.here import open_address
from modelyard.store.address import home_folder
from modelyard.version_choice import METAVAR, chosen_version


@click.command()
@click.argument("what", metavar=METAVAR)
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
    from modelyard.deployment.foreground import serve_image
    from modelyard.images import open_images
    from modelyard.images.unpack import unpack_model_image
    from modelyard.serving.settings import SETTINGS
    from modelyard.store import Store

    home = home_folder(os.environ)
    address = open_address(os.environ)
    with Store.open(address) as store:
        version, digest = chosen_version(store, what)
    root = unpack_model_image(open_images(address, home), version.name, digest, home)
    settings = {name: os.environ[name] for name in SETTINGS if name in os.environ}
    if tokens_file is not None:
        settings["MODELYARD_TOKENS_FILE"] = str(tokens_file.resolve())

    def listening(address: str) -> None:
        click.secho(f"{version.name}:{version.version} at {address} until Ctrl-C; /docs tells how to ask", err=True)

    code = serve_image(
        root, version, digest, home=home, host=host, port=port, workers=workers, settings=settings, told=listening
    )
    click.get_current_context().exit(code)
