"""What is attached to an image: manifests with a subject, and the index of them, tagged by the subject's digest.

OCI 1.1 with the referrers tag schema, the fallback that registries of OCI 1.0 and folders on disk can hold. Signatures
lie at a tag of their own, too: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from modelyard.errors import ImageError
from modelyard.images.image import CONFIG, INDEX, MANIFEST, digest_of, to_bytes
from modelyard.images.store import Referrer

JSON = dict[str, Any]

EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_SIGNED_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
_SIGNATURE = "dev.cosignproject.cosign/signature"


def fallback_tag(subject: str) -> str:
    """Return the tag under which the referrers of ``subject`` are listed."""
    return subject.replace(":", "-")


def signature_tag(subject: str) -> str:
    """Return the tag under which cosign 2 looks for the signatures of ``subject``."""
    return f"{fallback_tag(subject)}.sig"


def attached_tags(subject: str) -> tuple[str, str]:
    """Return the tags of all that is attached to ``subject``: none of them names an image of its own."""
    return fallback_tag(subject), signature_tag(subject)


def artifact_manifest(subject: JSON, artifact_type: str, data: bytes, annotations: Mapping[str, str] | None) -> bytes:
    """Return the manifest of ``data`` attached to the image of the descriptor ``subject``."""
    return to_bytes(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": artifact_type,
            "config": {"mediaType": _EMPTY_TYPE, "digest": digest_of(EMPTY), "size": len(EMPTY)},
            "layers": [{"mediaType": artifact_type, "digest": digest_of(data), "size": len(data)}],
            "subject": subject,
            **({"annotations": dict(annotations)} if annotations else {}),
        }
    )


def with_referrer(index: bytes | None, manifest: bytes, artifact_type: str) -> bytes:
    """Return the index of a subject's referrers with one more; unchanged when it is listed already."""
    listed: list[JSON] = [] if index is None else json.loads(index)["manifests"]
    descriptor: JSON = {
        "mediaType": MANIFEST,
        "artifactType": artifact_type,
        "digest": digest_of(manifest),
        "size": len(manifest),
    }
    if annotations := json.loads(manifest).get("annotations"):
        descriptor["annotations"] = annotations
    if descriptor not in listed:
        listed = [*listed, descriptor]
    return to_bytes({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed})


def referrers_in(index: bytes) -> list[Referrer]:
    """Return what an index lists."""
    return [Referrer(found["digest"], found.get("artifactType", "")) for found in json.loads(index)["manifests"]]


def with_signature(manifest: bytes | None, payload: bytes, signature: str) -> tuple[bytes, bytes]:
    """Return manifest and config of an image's signatures with one more; unchanged when it is among them already."""
    layers: list[JSON] = [] if manifest is None else json.loads(manifest)["layers"]
    layer = {
        "mediaType": _SIGNED_TYPE,
        "digest": digest_of(payload),
        "size": len(payload),
        "annotations": {_SIGNATURE: signature},
    }
    if layer not in layers:
        layers = [*layers, layer]
    rootfs = {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}
    config = to_bytes({"architecture": "", "os": "", "config": {}, "rootfs": rootfs})
    descriptor = {"mediaType": CONFIG, "digest": digest_of(config), "size": len(config)}
    made = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor, "layers": layers}
    return to_bytes(made), config


def signatures_in(manifest: bytes, read: Callable[[str], bytes]) -> list[tuple[bytes, str]]:
    """Return the payloads and signatures of a manifest; ``read(digest)`` gives a blob.

    Raises:
        ImageError: what lies there is none of signatures.
    """
    try:
        layers = [
            (layer["digest"], layer["annotations"][_SIGNATURE])
            for layer in json.loads(manifest)["layers"]
            if layer["mediaType"] == _SIGNED_TYPE
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ImageError(
            "What lies at the tag of an image's signatures is none", "delete that tag, and sign the image again"
        ) from error
    return [(read(digest), signature) for digest, signature in layers]
