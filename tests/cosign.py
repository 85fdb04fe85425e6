"""Keys as cosign writes them, and signatures as it verifies them with one, from a registry's own HTTP.

Written from the specifications alone, it shares nothing with what signs: SIGNATURE_SPEC.md (version 2) and
BUNDLE_SPEC.md (version 3) of https://github.com/sigstore/cosign/tree/main/specs, and DSSE's protocol.
"""

from __future__ import annotations

import base64
import hashlib
import json
import textwrap
from typing import Any

import httpx
import nacl.utils
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from nacl.secret import SecretBox

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def key_pair() -> tuple[str, str]:
    """Return a private key as PKCS #8 and its public one, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


def as_cosign_keeps_it(pem: str, password: str, kind: str = "SIGSTORE") -> str:
    """What `cosign generate-key-pair` writes: cheaper than its own, as it is for tests."""
    der = base64.b64decode("".join(pem.splitlines()[1:-1]))
    salt, parameters = nacl.utils.random(32), {"N": 1024, "r": 8, "p": 1}
    key = hashlib.scrypt(password.encode(), salt=salt, n=1024, r=8, p=1, dklen=32)
    sealed = SecretBox(key).encrypt(der)
    document = {
        "kdf": {"name": "scrypt", "params": parameters, "salt": base64.b64encode(salt).decode()},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(sealed.nonce).decode()},
        "ciphertext": base64.b64encode(sealed.ciphertext).decode(),
    }
    body = "\n".join(textwrap.wrap(base64.b64encode(json.dumps(document).encode()).decode(), 64))
    return f"-----BEGIN ENCRYPTED {kind} PRIVATE KEY-----\n{body}\n-----END ENCRYPTED {kind} PRIVATE KEY-----\n"


class Repository:
    """One repository of a registry of plain HTTP."""

    def __init__(self, host: str, name: str) -> None:
        self._client = httpx.Client(base_url=f"http://{host}/v2/{name}")

    def manifest(self, reference: str) -> Any:
        """Return a manifest's JSON; of one by digest its bytes are held to that. None when there is none."""
        answer = self._client.get(f"/manifests/{reference}", headers={"Accept": f"{MANIFEST}, {INDEX}"})
        if answer.status_code == 404:
            return None
        content = answer.raise_for_status().content
        if reference.startswith("sha256:"):
            assert hashlib.sha256(content).hexdigest() == reference.removeprefix("sha256:")
        return json.loads(content)

    def put(self, tag: str, manifest: Any) -> None:
        """Write a manifest under a tag, as whoever may push can."""
        body = json.dumps(manifest).encode()
        self._client.put(f"/manifests/{tag}", content=body, headers={"Content-Type": manifest["mediaType"]})

    def upload(self, data: bytes) -> dict[str, Any]:
        """Put a blob and return digest and size."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        place = self._client.post("/blobs/uploads/").raise_for_status().headers["Location"]
        url = httpx.URL(place).copy_merge_params({"digest": digest})
        self._client.put(url, content=data, headers={"Content-Type": "application/octet-stream"}).raise_for_status()
        return {"digest": digest, "size": len(data)}

    def blob(self, descriptor: dict[str, Any]) -> bytes:
        """Return the blob of a descriptor, held to its digest and size."""
        content = self._client.get(f"/blobs/{descriptor['digest']}", follow_redirects=True).raise_for_status().content
        assert hashlib.sha256(content).hexdigest() == descriptor["digest"].removeprefix("sha256:")
        assert len(content) == descriptor["size"]
        return content

    def referrers(self, digest: str) -> list[dict[str, Any]]:
        """List what refers to an image, by the API or the tag in its place."""
        answer = self._client.get(f"/referrers/{digest}")
        if answer.status_code == 200:
            return list(answer.json()["manifests"])
        index = self.manifest(digest.replace(":", "-"))
        return [] if index is None else list(index["manifests"])

    def attached(self, digest: str, artifact_type: str) -> list[bytes]:
        """Return the one layer of each referrer of a type."""
        found = []
        for referrer in self.referrers(digest):
            if referrer["artifactType"] == artifact_type:
                manifest = self.manifest(referrer["digest"])
                assert manifest["subject"]["digest"] == digest
                assert manifest["artifactType"] == artifact_type
                (layer,) = manifest["layers"]
                found.append(self.blob(layer))
        return found


def verified(repository: Repository, digest: str, public: str) -> list[Any]:
    """Return the payload of each signature of an image by a key, as cosign 2 finds them."""
    manifest = repository.manifest(f"{digest.replace(':', '-')}.sig")
    assert manifest["mediaType"] == MANIFEST
    assert len(json.loads(repository.blob(manifest["config"]))["rootfs"]["diff_ids"]) == len(manifest["layers"])
    payloads = []
    for layer in manifest["layers"]:
        assert layer["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
        payload = repository.blob(layer)
        if _signed(public, layer["annotations"]["dev.cosignproject.cosign/signature"], payload):
            payloads.append(json.loads(payload))
    for payload in payloads:
        assert payload["critical"]["image"]["docker-manifest-digest"] == digest
        assert payload["critical"]["type"] == "cosign container image signature"
    return payloads


def statements(repository: Repository, digest: str, public: str) -> dict[str, Any]:
    """Return what a key has signed of an image, by predicate type, as cosign 3 finds it."""
    found = {}
    for data in repository.attached(digest, BUNDLE):
        bundle = json.loads(data)
        assert bundle["mediaType"] == BUNDLE
        der = serialization.load_pem_public_key(public.encode()).public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        hint = base64.b64encode(hashlib.sha256(der).digest()).decode()
        envelope = bundle["dsseEnvelope"]
        assert envelope["payloadType"] == "application/vnd.in-toto+json"
        body, kind = base64.b64decode(envelope["payload"], validate=True), envelope["payloadType"].encode()
        encoded = b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(body)).encode(), body])
        (signature,) = envelope["signatures"]
        if bundle["verificationMaterial"] != {"publicKey": {"hint": hint}}:
            continue
        assert _signed(public, signature["sig"], encoded)
        statement = json.loads(body)
        assert statement["_type"] == "https://in-toto.io/Statement/v1"
        assert [one["digest"] for one in statement["subject"]] == [{"sha256": digest.removeprefix("sha256:")}]
        assert statement["predicateType"] not in found, "the same is said twice"
        found[statement["predicateType"]] = statement["predicate"]
    return found


def _signed(public: str, signature: str, data: bytes) -> bool:
    key = serialization.load_pem_public_key(public.encode())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    try:
        key.verify(base64.b64decode(signature, validate=True), data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
