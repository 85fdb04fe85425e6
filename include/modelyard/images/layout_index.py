"""The index of an image layout (``index.json``): which image is kept under which name.

It is replaced in one rename, so a reader without the lock sees it before a change or after it; whoever changes it holds
the lock from before it is read.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelyard.durable import sync_folder
from modelyard.images.image import INDEX, to_bytes
from modelyard.images.layer import writing

JSON = dict[str, Any]

_FILE = "index.json"
_REF = "org.opencontainers.image.ref.name"


class LayoutIndex:
    """What a layout lists, as descriptors: ``REPOSITORY:TAG``, or ``REPOSITORY@DIGEST`` for what has no tag.

    Args:
        folder: of the layout; becomes an empty one when it is none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with self.locked():
            if not (folder / _FILE).exists():
                self.write([])
                self._replace("oci-layout", {"imageLayoutVersion": "1.0.0"})

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock; it waits for whoever has it, in this process or another."""
        with (self._folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def listed(self) -> list[JSON]:
        """Return the descriptors of all that is listed."""
        manifests: list[JSON] = json.loads((self._folder / _FILE).read_bytes())["manifests"]
        return manifests

    def listed_in(self, repository: str) -> list[JSON]:
        """Return the descriptors of what is listed in a repository."""
        starts = (f"{repository}:", f"{repository}@")
        return [found for found in self.listed() if name_in(found).startswith(starts)]

    def find(self, name: str) -> str | None:
        """Return the digest of what is listed by a name, None when nothing is."""
        return next((found["digest"] for found in self.listed() if name_in(found) == name), None)

    def write(self, descriptors: Iterable[JSON]) -> None:
        """List these alone, whose blobs are there. Only under the lock."""
        sync_folder(self._folder / "blobs" / "sha256")  # what it names, before it
        self._replace(_FILE, {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(descriptors)})

    def _replace(self, name: str, content: JSON) -> None:
        with writing(self._folder) as (file, path):
            file.write(to_bytes(content))
            file.flush()
            os.fsync(file.fileno())
            path.replace(self._folder / name)
        sync_folder(self._folder)


def name_in(descriptor: JSON) -> str:
    """Return the name by which a descriptor is listed, "" where it has none."""
    return str((descriptor.get("annotations") or {}).get(_REF, ""))


def descriptor_of(name: str, digest: str, media_type: str, size: int) -> JSON:
    """Return a descriptor to be listed by ``name``."""
    return {"mediaType": media_type, "digest": digest, "size": size, "annotations": {_REF: name}}
