"""An image for several platforms: an OCI image index of one image a platform, and known by the index's own digest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelyard.errors import ImageError
from modelyard.images.image import INDEX, Image, digest_of, to_bytes

JSON = dict[str, Any]


@dataclass(frozen=True)
class Index:
    """Images of the same content, one a platform.

    Attributes:
        manifest: the index's raw bytes, to which its digest belongs.
        images: as the index lists them.
    """

    manifest: bytes
    images: tuple[Image, ...]

    @classmethod
    def of(cls, images: Sequence[Image]) -> Index:
        """Make the index of images, each for another platform; in whatever order they come, it is the same one."""
        listed = tuple(sorted(images, key=lambda image: image.platform))
        said = [set((image.parsed_manifest.get("annotations") or {}).items()) for image in listed]
        common = dict(set.intersection(*said))  # what is true of all of them is true of it
        manifest = {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [_descriptor(image) for image in listed],
            **({"annotations": common} if common else {}),
        }
        return cls(to_bytes(manifest), listed)

    @property
    def digest(self) -> str:
        """``sha256:…`` of the index: the image's name for ever, whatever platform it is pulled for."""
        return digest_of(self.manifest)

    @property
    def media_type(self) -> str:
        """Of the index."""
        return INDEX


def digests_in(image: Image | Index) -> list[str]:
    """Return the digests of all manifests that an image consists of, its own last."""
    return list(dict.fromkeys([*(one.digest for one in image.images), image.digest]))


def is_index(manifest: JSON) -> bool:
    """Whether a manifest is an index of others."""
    return "manifests" in manifest


def digest_for(index: bytes, platform: str, name: str) -> str:
    """Return the digest of an index's image for ``platform``; ``name`` is for the message.

    Raises:
        ImageError: it has none.
    """
    offered: dict[str, str] = {}
    for found in json.loads(index)["manifests"]:
        described = found.get("platform") or {}
        offered.setdefault(f"{described.get('os')}/{described.get('architecture')}", found["digest"])
    if platform in offered:
        return offered[platform]
    known = ", ".join(sorted(one for one in offered if one.startswith("linux/"))) or "no platform that is told"
    raise ImageError(f"{name} is not for {platform}, but for {known}", "use an image for this platform")


def _descriptor(image: Image) -> JSON:
    config = image.parsed_config
    described = {key: config[key] for key in ("architecture", "os", "variant") if config.get(key)}
    return {
        "mediaType": image.media_type,
        "digest": image.digest,
        "size": len(image.manifest),
        "platform": described,
    }
