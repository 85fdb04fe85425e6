"""Signatures of an image's digest, as cosign writes and verifies them with a key.

Each image is signed in both of cosign's forms, by the same key. Version 2 looks for an image at the tag
``sha256-DIGEST.sig`` (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md). Version 3 looks there only
where no bundle refers to the image, and verifies each bundle otherwise, so that one must be the signature's own.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from modelyard.errors import ImageError
from modelyard.images.image import to_bytes
from modelyard.images.store import ImageStore
from modelyard.supply_chain.key import PublicKey, Signer
from modelyard.supply_chain.statement import BUNDLE, SIGNED, described, read, signed, statement

_TYPE = "cosign container image signature"
_BUNDLES = BUNDLE.partition(".v")[0]
# Whoever may push can attach anything. Of what is unreadable nothing is known but that it is no valid signature.
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, RecursionError, ImageError)


def sign(images: ImageStore, repository: str, digest: str, signer: Signer) -> None:
    """Sign an image that is there. The same again, by the same key, changes nothing.

    Raises:
        ImageError: the registry refuses it; Unavailable: it cannot be reached.
    """
    name = images.reference(repository, digest).rpartition("@")[0]
    payload = to_bytes(
        {
            "critical": {
                "identity": {"docker-reference": name},
                "image": {"docker-manifest-digest": digest},
                "type": _TYPE,
            },
            "optional": None,
        }
    )
    images.attach_signature(repository, digest, payload, base64.b64encode(signer.sign(payload)).decode())
    bundle = signed(statement(name, digest, SIGNED, {}), signer)
    images.attach(repository, digest, BUNDLE, bundle, described(SIGNED))


def check_signed(images: ImageStore, repository: str, digest: str, keys: tuple[PublicKey, ...]) -> PublicKey:
    """Return the key, one of ``keys``, by which an image is signed.

    Raises:
        ImageError: it is signed by none of them; Unavailable: its repository cannot be reached.
    """
    found = list(_signatures(images, repository, digest, keys))
    for one in found:
        if one.key is not None and one.digest == digest:
            return one.key
    trusted = ", ".join(map(str, keys))
    others = [one.digest for one in found if one.key is not None]
    if others:
        why = f"what is signed by {trusted} is another one ({others[0]})"
    elif found:
        why = f"none of its {len(found)} signatures is by {trusted}"
    else:
        why = f"it has no signature, and one by {trusted} is asked for"
    raise ImageError(
        f"The image {images.reference(repository, digest)} does not go live: {why}",
        "release the version again: `push` signs with the store's signing key; or have the verification key corrected",
    )


@dataclass(frozen=True)
class _Signature:
    """One that was found: what it names, and whose it is, of those who are asked about."""

    digest: str
    key: PublicKey | None


def _signatures(images: ImageStore, repository: str, digest: str, keys: tuple[PublicKey, ...]) -> Iterator[_Signature]:
    """Yield what is found in either form. What is broken takes nothing from the rest; only Unavailable is raised."""
    for form in (_of_version_2, _of_version_3):
        try:
            yield from form(images, repository, digest, keys)
        except _UNREADABLE:
            yield _Signature("", None)


def _of_version_2(
    images: ImageStore, repository: str, digest: str, keys: tuple[PublicKey, ...]
) -> Iterator[_Signature]:
    for payload, signature in images.signatures(repository, digest):
        try:
            yield _of_payload(payload, base64.b64decode(signature), keys)
        except _UNREADABLE:
            yield _Signature("", None)


def _of_version_3(
    images: ImageStore, repository: str, digest: str, keys: tuple[PublicKey, ...]
) -> Iterator[_Signature]:
    for referrer in images.referrers(repository, digest):
        if not referrer.artifact_type.startswith(_BUNDLES):
            continue
        try:
            said, by = read(images.read_referrer(repository, referrer.digest), keys)
            if said["predicateType"] == SIGNED:  # one who says how an image was made has not said that it may go live
                yield from [_Signature(f"sha256:{one['digest']['sha256']}", by) for one in said["subject"]]
        except _UNREADABLE:
            yield _Signature("", None)


def _of_payload(payload: bytes, signature: bytes, keys: tuple[PublicKey, ...]) -> _Signature:
    by = next((key for key in keys if key.verifies(signature, payload)), None)
    critical: dict[str, Any] = json.loads(payload)["critical"]
    if critical["type"] != _TYPE:
        raise ValueError("it signs something else")
    return _Signature(str(critical["image"]["docker-manifest-digest"]), by)
