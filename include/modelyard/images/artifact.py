"""What is attached to an image: manifests with a subject, and the index of them, tagged by the subject's digest.

OCI 1.1 with the referrers tag schema, the fallback that registries of OCI 1.0 and folders on disk can hold.
"""

from __future__ import annotations

import json
from typing import Any

from modelyard.images.image import INDEX, MANIFEST, digest_of, to_bytes
from modelyard.images.store import Referrer

JSON = dict[str, Any]

EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"


def fallback_tag(subject: str) -> str:
    """Return the tag under which the referrers of ``subject`` are listed."""
    return subject.replace(":", "-")


def artifact_manifest(subject: JSON, artifact_type: str, data: bytes) -> bytes:
    """Return the manifest of ``data`` attached to the image of the descriptor ``subject``."""
    return to_bytes(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": artifact_type,
            "config": {"mediaType": _EMPTY_TYPE, "digest": digest_of(EMPTY), "size": len(EMPTY)},
            "layers": [{"mediaType": artifact_type, "digest": digest_of(data), "size": len(data)}],
            "subject": subject,
        }
    )


def with_referrer(index: bytes | None, manifest: bytes, artifact_type: str) -> bytes:
    """Return the index of a subject's referrers with one more; unchanged when it is listed already."""
    listed: list[JSON] = [] if index is None else json.loads(index)["manifests"]
    descriptor = {
        "mediaType": MANIFEST,
        "artifactType": artifact_type,
        "digest": digest_of(manifest),
        "size": len(manifest),
    }
    if descriptor not in listed:
        listed = [*listed, descriptor]
    return to_bytes({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed})


def referrers_in(index: bytes) -> list[Referrer]:
    """Return what an index lists."""
    return [Referrer(found["digest"], found.get("artifactType", "")) for found in json.loads(index)["manifests"]]
