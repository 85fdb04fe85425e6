"""The model store that a command on this machine works with."""

from __future__ import annotations

from collections.abc import Mapping

from modelyard import embedded
from modelyard.store.address import StoreAddress, home_folder


def open_address(environment: Mapping[str, str], *, new: bool = False) -> StoreAddress:
    """Return the address that ``MODELYARD_*`` variables name; the embedded store of this machine is started for it.

    A stopped one is found running again by whatever command comes next; ``modelyard stop`` ends it.

    Args:
        environment: of the process.
        new: where no store is named and none was ever made here, make the embedded one: for what trains.

    Raises:
        StoreError: there is no store, or the embedded one is not installed; Unavailable: it does not start.
    """
    folder = home_folder(environment) / "mongo"
    if not environment.get("MODELYARD_MONGO_URI") and (new or embedded.uri(folder) is not None):
        embedded.start(folder)
    return StoreAddress.from_environment(environment)
