"""From an address to the image store it names."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from modelyard.errors import ImageError
from modelyard.images.compression import Compression
from modelyard.images.layout import Layout
from modelyard.images.store import ImageStore


class RegistryAddress(Protocol):
    """The part of a store address that says where images are."""

    @property
    def registry(self) -> str:
        """``oci:/folder`` or ``host[:port]/prefix``."""
        ...


def open_images(address: RegistryAddress, home: Path, compression: Compression = "zstd") -> ImageStore:  # noqa: ARG001
    """Return the image store of an address.

    Args:
        address: where images are, and what it takes to get there.
        home: this machine's folder; layers on their way into a registry are kept in its cache.
        compression: of new layers; ``gzip`` where a runtime reads no zstd (Docker before 23).

    Raises:
        ImageError: the address is none.
    """
    kind, _, path = address.registry.partition("oci:")
    if not kind and path:
        return Layout(Path(path), compression)
    raise ImageError(f"'{address.registry}' is no registry", "write oci:/folder or host[:port]/prefix")
