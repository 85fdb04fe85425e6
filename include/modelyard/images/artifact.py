"""What is attached to an image: manifests with a subject, and the index of them, tagged by the subject's digest.

OCI 1.1 with the referrers tag schema, the fallback that registries of OCI 1.0 and folders on disk can hold. Signatures
lie at a tag of their own, too: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md. Whoever may push
can attach anything: what is none of all this is an ImageError, never another one.
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
MOST_BYTES = 8 << 20
"""Nothing larger is read that was attached: signatures have a few kB, bills of materials some hundreds."""
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
    listed = [] if index is None else _listed(index, "manifests")
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
    """Return what an index lists.

    Raises:
        ImageError: it is no index.
    """
    found = [(str(one.get("digest")), one.get("artifactType")) for one in _listed(index, "manifests")]
    return [Referrer(digest, kind if isinstance(kind, str) else "") for digest, kind in found]


def data_in(manifest: bytes, read: Callable[[str], bytes]) -> bytes:
    """Return the data of :func:`artifact_manifest`; ``read(digest)`` gives a blob, and ends at ``MOST_BYTES``.

    Raises:
        ImageError: the manifest is none of attached data, or these are too large.
    """
    for layer in _listed(manifest, "layers"):
        return _data(layer, read)
    raise ImageError("What is attached holds no data", "delete it from the registry, and attach it again")


def too_large(digest: str) -> ImageError:
    """Return the error of a blob that is larger than ``MOST_BYTES``."""
    return ImageError(
        f"What is attached, {digest}, is larger than {MOST_BYTES >> 20} MiB",
        "delete it: Modelyard attaches no such thing",
    )


def with_signature(manifest: bytes | None, payload: bytes, signature: str) -> tuple[bytes, bytes]:
    """Return manifest and config of an image's signatures with one more; unchanged when it is among them already."""
    layers = [] if manifest is None else _listed(manifest, "layers")
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
    """Return the payloads and signatures of a manifest; ``read`` is as for :func:`data_in`.

    A payload that cannot be read is empty, and no signature is valid of that: it takes nothing from the others.

    Raises:
        ImageError: what lies there is no manifest.
    """
    found = []
    for layer in _listed(manifest, "layers"):
        annotations = layer.get("annotations")
        if layer.get("mediaType") == _SIGNED_TYPE and isinstance(annotations, dict):
            try:
                payload = _data(layer, read)
            except ImageError:
                payload = b""
            found.append((payload, str(annotations.get(_SIGNATURE, ""))))
    return found


def _listed(manifest: bytes, key: str) -> list[JSON]:
    try:
        found = json.loads(manifest)[key]
    except (ValueError, KeyError, TypeError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ImageError(
            f"What lies where the attachments of an image are listed has no list of '{key}'",
            "delete it from the registry, and release the version again: it was not written by Modelyard",
        )
    return found


def _data(descriptor: JSON, read: Callable[[str], bytes]) -> bytes:
    digest, size = descriptor.get("digest"), descriptor.get("size")
    if not isinstance(digest, str) or not isinstance(size, int):
        raise ImageError("What is attached names no data", "delete it from the registry, and attach it again")
    if size > MOST_BYTES:
        raise too_large(digest)
    return read(digest)
