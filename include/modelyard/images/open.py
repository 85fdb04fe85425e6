"""From an address to the image store it names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.images.compression import Compression
from modelyard.images.layout import Layout
from modelyard.images.store import ImageStore, Pardon, nobody_collects

if TYPE_CHECKING:
    from modelyard.store.address import StoreAddress

_FOLDER = "oci:"


def compression_of(address: StoreAddress) -> Compression:
    """Return how new layers are compressed for an address."""
    return "gzip" if address.layer_compression == "gzip" else "zstd"


def open_images(
    address: StoreAddress, home: Path, compression: Compression | None = None, pardon: Pardon = nobody_collects
) -> ImageStore:
    """Return the image store of an address. Nothing is asked of a registry before its first use.

    Args:
        address: where images are, and what it takes to get there.
        home: this machine's folder; layers on their way into a registry are kept in its cache.
        compression: of new layers, where it is not to be the address's.
        pardon: keeps garbage collection from an image that is used again; for whoever records what it uses.
    """
    compression = compression or compression_of(address)
    if address.registry.startswith(_FOLDER):
        return Layout(Path(address.registry.removeprefix(_FOLDER)), compression, pardon)
    from modelyard.images.registry import Registry
    from modelyard.images.transport import Transport

    host, _, prefix = address.registry.removeprefix("https://").strip("/").partition("/")
    return Registry(Transport.to(host, address), prefix, home / "cache" / "layers", compression, pardon)
