"""NAME, NAME:VERSION or NAME@ALIAS: how the commands are told which released version is meant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from modelyard.store import ModelVersion, Store

METAVAR = "NAME[:VERSION|@ALIAS]"
_NAME = re.compile(r"(?P<name>[a-z][a-z0-9-]*)(:(?P<version>[0-9]+)|@(?P<alias>[^@:\s]+))?")


def chosen_version(store: Store, what: str) -> tuple[ModelVersion, str]:
    """Return the version that is asked for, and the digest of its image.

    NAME alone is the newest version that has one.

    Raises:
        BadParameter: ``what`` is none of the three; NotFound: there is no such version, or it has no image.
    """
    from modelyard.errors import NotFound

    found = _NAME.fullmatch(what)
    if found is None:
        raise click.BadParameter(f"'{what}' is not NAME, NAME:VERSION or NAME@ALIAS", param_hint=METAVAR)
    name, number, alias = found["name"], found["version"], found["alias"]
    if number is None and alias is None:
        released = store.versions.find(name=name, state="released", limit=1).versions
        if not released:
            raise NotFound(f"{name} has no released version", f"release one: modelyard run FOLDER of {name}")
        version = released[0]
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
