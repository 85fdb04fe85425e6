"""``modelyard gc``: what nothing refers to any more, and its deletion."""

from __future__ import annotations

import os

import click

from modelyard.garbage.patience import DEFAULT, patience
from modelyard.here import open_address
from modelyard.store.address import home_folder
from modelyard.terminal import progress


@click.command()
@click.option("--delete", is_flag=True, help="Delete it. Without this nothing is changed.")
@click.option(
    "--older-than",
    default=DEFAULT,
    show_default=True,
    metavar="TIME",
    help="Only what was found unreferenced so long ago: hours or days, as 36h or 7d.",
)
def gc(delete: bool, older_than: str) -> None:
    """Show what artifacts and images nothing refers to any more, and how much they take; with --delete, delete them.

    Of each kind the largest are named, with why they are garbage.

    And, of this machine, the unpacked and packed copies of images that nobody has used for that time or uses now.

    What a version, an alias, a deployment, a Sacred run or an unfinished pipeline run refers to is kept. Nothing is
    deleted at first sight: a run with --delete notes what it finds unreferenced, and deletes what another one noted
    --older-than ago and nobody has used since. It may run beside pipelines, and be ended at any moment.
    """
    from modelyard.garbage.collect import collect
    from modelyard.garbage.report import lines
    from modelyard.images import open_images
    from modelyard.store import Store

    wait = patience(older_than)
    address = open_address(os.environ)
    with Store.open(address) as store:
        home = home_folder(os.environ)
        collection = collect(store, open_images(address, home), home, patience=wait, delete=delete, log=progress)
    for line in lines(collection, older_than):
        click.echo(line)
