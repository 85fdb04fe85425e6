"""Keys as cosign has them: ECDSA on the curve P-256, signatures over SHA-256.

A private key is a PEM file of PKCS #8, or the one that ``cosign generate-key-pair`` writes: the same, encrypted with a
password (scrypt and NaCl's secretbox, as ``go-securesystemslib/encrypted`` does it). Public keys are PEM files.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.errors import RequestError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----", re.DOTALL)
_ENCRYPTED = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
_PUBLIC = "PUBLIC KEY"
# What cosign asks of scrypt, and as much again: more memory than that is no key of cosign's.
_MOST_SCRYPT = 2 * 128 * 65536 * 8
_KIND = "an ECDSA key on the curve P-256: `cosign generate-key-pair` makes one"


@dataclass(frozen=True)
class SigningKey:
    """A private key as it is kept: a credential, which only the step that signs is given.

    Attributes:
        pem: the file's text.
        password: of an encrypted one.
    """

    pem: str = field(repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> SigningKey | None:
        """Return the key in ``MODELYARD_SIGNING_KEY``, its password in ``MODELYARD_SIGNING_PASSWORD``; None without."""
        pem = environment.get("MODELYARD_SIGNING_KEY")
        return cls(pem, environment.get("MODELYARD_SIGNING_PASSWORD", "")) if pem else None

    @classmethod
    def from_folder(cls, folder: Path) -> SigningKey:
        """Return the key that a mounted Secret holds, as ``cosign generate-key-pair k8s://…`` makes one.

        Raises:
            RequestError: there is none in it.
        """
        key, password = folder / "cosign.key", folder / "cosign.password"
        if not key.is_file():
            raise RequestError("The Secret with the signing key has no key cosign.key", "add the key to the Secret")
        return cls(key.read_text(), password.read_text().rstrip("\n") if password.is_file() else "")

    def open(self) -> Signer:
        """Return what signs with it.

        Raises:
            RequestError: it is no such key, or the password is another one's.
        """
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

        blocks = [found[0] for found in _PEM.finditer(self.pem) if found[1] != "EC PARAMETERS"]  # openssl's, of P-256
        try:
            (pem,) = blocks
            if pem.startswith(tuple(f"-----BEGIN {kind}" for kind in _ENCRYPTED)):
                key = load_der_private_key(_decrypted(pem, self.password.encode()), None)
            else:
                key = load_pem_private_key(pem.encode(), self.password.encode() or None)
        except (ValueError, TypeError, KeyError) as error:
            # Without its cause: that one may quote what it could not read.
            kind = type(error).__name__
            raise RequestError(
                f"The signing key cannot be opened ({kind})", f"give its own password, and {_KIND}"
            ) from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise RequestError("The signing key is of a kind that is not signed with here", f"use {_KIND}")
        return Signer(key)


class Signer:
    """A private key, opened."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())

    def sign(self, data: bytes) -> bytes:
        """Return the signature of ``data`` in DER: the same each time (RFC 6979), so that a retry adds none."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        return self._key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


class PublicKey:
    """A public key.

    Attributes:
        hint: sha256 of the key's DER in base64: by this Sigstore's bundles name it.
    """

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        self._key = key
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.hint = base64.b64encode(hashlib.sha256(der).digest()).decode()

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether this key's private half made ``signature`` of ``data``."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        try:
            self._key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True

    def __str__(self) -> str:
        """The fingerprint by which people compare keys: of the key's DER, in base64."""
        return f"SHA256:{self.hint.rstrip('=')}"


def read_public_keys(text: str) -> tuple[PublicKey, ...]:
    """Return the public keys in a text: one PEM block after the other.

    Raises:
        RequestError: there is none, or one that is none of these.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    keys: list[PublicKey] = []
    for found in _PEM.finditer(text):
        try:
            key = load_pem_public_key(found[0].encode()) if found[1] == _PUBLIC else None
        except ValueError:
            key = None
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise RequestError(f"The verification key number {len(keys) + 1} cannot be used", f"give {_KIND}")
        keys.append(PublicKey(key))
    if not keys:
        raise RequestError("The verification key is no PEM file of a public key", "give the content of cosign.pub")
    return tuple(keys)


def _decrypted(pem: str, password: bytes) -> bytes:
    """Return what a private key file of cosign's holds; ValueError, KeyError or TypeError when it can't be had."""
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    sealed: dict[str, Any] = json.loads(base64.b64decode("".join(pem.splitlines()[1:-1])))
    kdf, cipher = sealed["kdf"], sealed["cipher"]
    if (kdf["name"], cipher["name"]) != ("scrypt", "nacl/secretbox"):
        raise ValueError("it is encrypted in another way")
    asked = kdf["params"]
    salt, nonce, text = (base64.b64decode(found) for found in (kdf["salt"], cipher["nonce"], sealed["ciphertext"]))
    secret = hashlib.scrypt(
        password, salt=salt, n=asked["N"], r=asked["r"], p=asked["p"], maxmem=_MOST_SCRYPT, dklen=SecretBox.KEY_SIZE
    )
    try:
        return SecretBox(secret).decrypt(text, nonce)
    except CryptoError as error:
        raise ValueError("the password is another one's") from error
