"""Stores on a folder and a layout, and on a bucket and a registry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.garbage.planting import Ground

from modelyard.images import open_images
from modelyard.store import Store, StoreAddress


@pytest.fixture(params=["on this machine", "on servers"])
def ground(request: pytest.FixtureRequest, store_address: StoreAddress, tmp_path: Path) -> Iterator[Ground]:
    """A fresh store, with images that pardon what they find, as a step's do."""
    if request.param == "on servers":
        s3, registry = (request.getfixturevalue(name) for name in ("s3", "registry"))
        store_address = replace(
            s3.address("some/prefix", mongo_uri=store_address.mongo_uri),
            database=store_address.database,
            installation="test",
            registry=f"{registry.host}/{registry.prefix}",
            registry_insecure=True,
        )
    with Store.open(store_address) as store:
        home = tmp_path / "home"
        images = open_images(store_address, home, pardon=store.pardon_image)
        yield Ground(store, images, tmp_path / "empty", open_images(store_address, home))
