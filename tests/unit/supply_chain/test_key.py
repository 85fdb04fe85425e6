"""Keys as cosign and openssl write them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.cosign import as_cosign_keeps_it, key_pair
from tests.searching import made_up

from modelyard.errors import RequestError
from modelyard.supply_chain import SigningKey
from modelyard.supply_chain.key import read_public_keys

PRIVATE, PUBLIC = key_pair()
PASSWORD = made_up("signing")


@pytest.mark.parametrize(
    "key",
    [
        SigningKey(PRIVATE),
        SigningKey(as_cosign_keeps_it(PRIVATE, PASSWORD), PASSWORD),
        SigningKey(as_cosign_keeps_it(PRIVATE, "", "COSIGN")),
    ],
    ids=["PKCS #8", "cosign's, encrypted", "cosign 1's, with an empty password"],
)
def test_each_form_signs_the_same_and_is_not_shown(key: SigningKey):
    signer = key.open()
    (public,) = read_public_keys(PUBLIC)
    assert str(signer.public) == str(public)
    assert signer.sign(b"data") == SigningKey(PRIVATE).open().sign(b"data")
    assert public.verifies(signer.sign(b"data"), b"data")
    assert not public.verifies(signer.sign(b"data"), b"other data")
    assert not public.verifies(b"no DER", b"data")
    assert PASSWORD not in repr(key)
    assert key.pem.splitlines()[1] not in repr(key)


def test_openssls_own_file_does_as_well(tmp_path: Path):
    file = tmp_path / "key.pem"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-out", file], check=True)
    assert "EC PARAMETERS" in file.read_text()
    public = subprocess.run(["openssl", "ec", "-in", file, "-pubout"], check=True, capture_output=True, text=True)
    (key,) = read_public_keys(public.stdout)
    data, signature = tmp_path / "data", tmp_path / "signature"
    data.write_bytes(b"data")
    signature.write_bytes(SigningKey(file.read_text()).open().sign(b"data"))
    (tmp_path / "public.pem").write_text(public.stdout)
    said = subprocess.run(
        ["openssl", "dgst", "-sha256", "-verify", tmp_path / "public.pem", "-signature", signature, data],
        capture_output=True,
        text=True,
    )
    assert said.stdout == "Verified OK\n"
    assert key.verifies(signature.read_bytes(), b"data")


def of_another_kind(key: Any) -> SigningKey:
    return SigningKey(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


EMPTY = "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\ne30=\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (SigningKey("no key"), "cannot be opened"),
        (SigningKey(PRIVATE + PRIVATE), "cannot be opened"),
        (SigningKey(PUBLIC), "cannot be opened"),
        (SigningKey(PRIVATE, PASSWORD), "cannot be opened"),
        (SigningKey(as_cosign_keeps_it(PRIVATE, PASSWORD), f"{PASSWORD}!"), "cannot be opened"),
        (SigningKey(PRIVATE.replace("\nM", "\n!")), "cannot be opened"),
        (SigningKey(EMPTY), "cannot be opened"),
        (of_another_kind(ed25519.Ed25519PrivateKey.generate()), "is of a kind"),
        (of_another_kind(ec.generate_private_key(ec.SECP384R1())), "is of a kind"),
    ],
)
def test_another_key_is_refused_in_words_that_tell_nothing_of_it(key: SigningKey, why: str):
    with pytest.raises(RequestError, match=f"The signing key .*{why}") as refused:
        key.open()
    assert refused.value.__cause__ is None
    assert PASSWORD not in str(refused.value)
    assert not any(line in str(refused.value) for line in key.pem.splitlines() if len(line) > 20)


def test_a_secret_that_cosign_made_is_read(tmp_path: Path):
    (tmp_path / "cosign.key").write_text(PRIVATE)
    (tmp_path / "cosign.pub").write_text(PUBLIC)
    assert SigningKey.from_folder(tmp_path) == SigningKey(PRIVATE)
    (tmp_path / "cosign.password").write_text(f"{PASSWORD}\n")
    assert SigningKey.from_folder(tmp_path) == SigningKey(PRIVATE, PASSWORD)
    (tmp_path / "cosign.key").unlink()
    with pytest.raises(RequestError, match=r"no key cosign\.key"):
        SigningKey.from_folder(tmp_path)


def test_a_laptop_has_it_in_its_environment():
    assert SigningKey.from_environment({"MODELYARD_SIGNING_PASSWORD": "x"}) is None
    given = {"MODELYARD_SIGNING_KEY": PRIVATE, "MODELYARD_SIGNING_PASSWORD": PASSWORD}
    assert SigningKey.from_environment(given) == SigningKey(PRIVATE, PASSWORD)


def test_public_keys_come_one_after_the_other():
    other = key_pair()[1]
    first, second = read_public_keys(f"the old one\n{PUBLIC}\nand the new one\n{other}")
    assert [str(first), str(second)] == [str(read_public_keys(one)[0]) for one in (PUBLIC, other)]
    for wrong, why in ((f"{PUBLIC}{PRIVATE}", "number 2 cannot be used"), ("cosign.pub", "no PEM file")):
        with pytest.raises(RequestError, match=why):
            read_public_keys(wrong)
