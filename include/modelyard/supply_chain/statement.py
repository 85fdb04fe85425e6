"""Signed statements about an image: in-toto's Statement v1, in a DSSE envelope, in a bundle of Sigstore (v0.3).

As ``cosign sign`` and ``cosign attest`` write them since version 3, and as all its versions from 2.4 on verify them:
https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md. No transparency log is asked: a key is trusted here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from modelyard.images.image import to_bytes
from modelyard.supply_chain.key import PublicKey, Signer

JSON = dict[str, Any]

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
STATEMENT = "application/vnd.in-toto+json"
SIGNED = "https://sigstore.dev/cosign/sign/v1"  # the predicate that only says: this image is signed


def statement(name: str, digest: str, predicate_type: str, predicate: Mapping[str, Any]) -> bytes:
    """Return what is said of the image ``digest``, as bytes to be signed.

    Args:
        name: of the image, for people; it is the digest that counts.
        digest: of the image.
        predicate_type: a URI: what kind of thing is said.
        predicate: what is said.
    """
    algorithm, _, value = digest.partition(":")
    return to_bytes(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": name, "digest": {algorithm: value}}],
            "predicateType": predicate_type,
            "predicate": dict(predicate),
        }
    )


def signed(said: bytes, signer: Signer) -> bytes:
    """Return a statement with its signature, as one bundle."""
    envelope = {
        "payload": base64.b64encode(said).decode(),
        "payloadType": STATEMENT,
        "signatures": [{"sig": base64.b64encode(signer.sign(_encoded(said))).decode()}],
    }
    material = {"publicKey": {"hint": signer.public.hint}}
    return to_bytes({"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope})


def read(bundle: bytes, keys: tuple[PublicKey, ...]) -> tuple[JSON, PublicKey | None]:
    """Return the statement of a bundle, and which of ``keys`` has signed it.

    Raises:
        ValueError, KeyError, TypeError: it is no bundle with a statement.
    """
    envelope = json.loads(bundle)["dsseEnvelope"]
    if envelope["payloadType"] != STATEMENT:
        raise ValueError("it holds no statement")
    said = base64.b64decode(envelope["payload"])
    signatures = [base64.b64decode(one["sig"]) for one in envelope["signatures"]]
    encoded = _encoded(said)
    by = next((key for key in keys for signature in signatures if key.verifies(signature, encoded)), None)
    found: JSON = json.loads(said)
    return found, by


def described(predicate_type: str) -> dict[str, str]:
    """Return what is written beside a bundle, so that it is known before it is read."""
    return {"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": predicate_type}


def _encoded(said: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is signed, so that a body is never taken for one of another type."""
    return b"DSSEv1 %d %s %d %s" % (len(STATEMENT), STATEMENT.encode(), len(said), said)
