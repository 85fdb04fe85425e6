"""Signatures in a real registry, checked by code that shares nothing with what signs."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.cosign import Repository, key_pair, statements, verified
from tests.fixtures_registry import RegistryServer

from modelyard.errors import ImageError, Unavailable
from modelyard.images import ImageStore, artifact
from modelyard.images.image import INDEX, MANIFEST, Image, digest_of, empty
from modelyard.images.layer import Entry
from modelyard.images.layout import Layout
from modelyard.images.registry import Registry
from modelyard.images.transport import Transport
from modelyard.supply_chain import SigningKey
from modelyard.supply_chain.key import PublicKey, Signer, read_public_keys
from modelyard.supply_chain.signature import check_signed, sign
from modelyard.supply_chain.statement import BUNDLE, SIGNED, signed, statement

ANNOTATION = "dev.cosignproject.cosign/signature"


@dataclass(frozen=True)
class Pair:
    """A key that signs."""

    private: str
    public: str

    @property
    def signer(self) -> Signer:
        return SigningKey(self.private).open()

    @property
    def trusted(self) -> tuple[PublicKey, ...]:
        return read_public_keys(self.public)


OURS, OTHERS = Pair(*key_pair()), Pair(*key_pair())


def pushed(images: ImageStore, content: bytes) -> Image:
    image = empty("amd64").append([images.pack([Entry("file", content)], "model")], {}, {})
    images.push("wine", image)
    return image


@pytest.fixture
def images(registry: RegistryServer, tmp_path: Path) -> Registry:
    return Registry(Transport(registry.host, insecure=True), registry.prefix, tmp_path / "packed")


@pytest.fixture
def raw(registry: RegistryServer) -> Repository:
    return Repository(registry.host, f"{registry.prefix}/wine")


def test_cosign_of_either_version_finds_the_signature_and_verifies_it(
    images: Registry, raw: Repository, registry: RegistryServer
) -> None:
    image = pushed(images, b"one")
    sign(images, "wine", image.digest, OURS.signer)

    (payload,) = verified(raw, image.digest, OURS.public)
    assert payload["critical"]["identity"] == {"docker-reference": f"{registry.host}/{registry.prefix}/wine"}
    assert statements(raw, image.digest, OURS.public) == {SIGNED: {}}
    (referrer,) = raw.referrers(image.digest)
    assert referrer["annotations"]["dev.sigstore.bundle.predicateType"] == SIGNED
    assert verified(raw, image.digest, OTHERS.public) == []
    assert statements(raw, image.digest, OTHERS.public) == {}


def test_the_same_key_signs_once_and_another_one_beside_it(images: Registry, raw: Repository) -> None:
    image = pushed(images, b"one")
    tags = (f"{image.digest.replace(':', '-')}.sig", image.digest.replace(":", "-"))
    sign(images, "wine", image.digest, OURS.signer)
    before = [raw.manifest(tag) for tag in tags]
    sign(images, "wine", image.digest, OURS.signer)
    assert [raw.manifest(tag) for tag in tags] == before

    sign(images, "wine", image.digest, OTHERS.signer)
    for pair in (OURS, OTHERS):
        assert len(verified(raw, image.digest, pair.public)) == 1
        assert statements(raw, image.digest, pair.public) == {SIGNED: {}}
        assert check_signed(images, "wine", image.digest, pair.trusted).hint == pair.trusted[0].hint


@pytest.mark.parametrize("store", ["registry", "folder"])
def test_either_form_alone_is_enough(
    images: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    where: ImageStore = images if store == "registry" else Layout(tmp_path / "images")
    for number, left_out in enumerate(("attach", "attach_signature")):
        image = pushed(where, str(number).encode())
        with monkeypatch.context() as patched:
            patched.setattr(where, left_out, lambda *_: "")
            sign(where, "wine", image.digest, OURS.signer)
        assert str(check_signed(where, "wine", image.digest, (*OTHERS.trusted, *OURS.trusted))).startswith("SHA256:")
        with pytest.raises(ImageError, match="none of its 1 signatures is by SHA256:"):
            check_signed(where, "wine", image.digest, OTHERS.trusted)


def test_an_unsigned_image_is_refused(images: Registry) -> None:
    image = pushed(images, b"one")
    with pytest.raises(ImageError, match=r"wine@sha256:\w+ does not go live: it has no signature, and one by SHA256:"):
        check_signed(images, "wine", image.digest, OURS.trusted)


def _another_payload(manifest: Any, raw: Repository) -> None:
    """The signature is left, and what it signs is changed to what the thief would like."""
    payload = json.loads(raw.blob(manifest["layers"][0]))
    payload["optional"] = {"approved": True}
    manifest["layers"][0] |= raw.upload(json.dumps(payload).encode())


def _another_signature(manifest: Any, _: Repository) -> None:
    annotations = manifest["layers"][0]["annotations"]
    signature = bytearray(base64.b64decode(annotations[ANNOTATION]))
    signature[-1] ^= 1
    annotations[ANNOTATION] = base64.b64encode(signature).decode()


def _no_signature_at_all(manifest: Any, _: Repository) -> None:
    manifest["layers"][0]["annotations"][ANNOTATION] = "not base64 at all"


@pytest.mark.parametrize("change", [_another_payload, _another_signature, _no_signature_at_all])
def test_what_was_changed_in_the_registry_is_refused(
    images: Registry, raw: Repository, change: Callable[[Any, Repository], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pushed(images, b"one")
    with monkeypatch.context() as patched:
        patched.setattr(images, "attach", lambda *_: "")
        sign(images, "wine", image.digest, OURS.signer)
    check_signed(images, "wine", image.digest, OURS.trusted)

    tag = f"{image.digest.replace(':', '-')}.sig"
    manifest = copy.deepcopy(raw.manifest(tag))
    change(manifest, raw)
    raw.put(tag, manifest)
    with pytest.raises(ImageError, match="none of its 1 signatures is by"):
        check_signed(images, "wine", image.digest, OURS.trusted)


def test_the_signature_of_another_image_is_refused(images: Registry, raw: Repository) -> None:
    good, bad = pushed(images, b"one"), pushed(images, b"two")
    sign(images, "wine", good.digest, OURS.signer)
    raw.put(f"{bad.digest.replace(':', '-')}.sig", raw.manifest(f"{good.digest.replace(':', '-')}.sig"))
    images.attach("wine", bad.digest, BUNDLE, signed(statement("wine", good.digest, SIGNED, {}), OURS.signer))
    with pytest.raises(ImageError, match=f"what is signed by SHA256:.* is another one \\({good.digest}\\)"):
        check_signed(images, "wine", bad.digest, OURS.trusted)


@pytest.mark.parametrize(
    "bundle",
    [
        b"not JSON",
        b"{}",
        b'{"dsseEnvelope": {"payload": "", "payloadType": "text/plain", "signatures": []}}',
        b'{"dsseEnvelope": {"payload": "e30=", "payloadType": "application/vnd.in-toto+json", "signatures": [1]}}',
        b"[" * 100_000,
    ],
)
def test_nonsense_beside_a_signature_takes_nothing_from_it_and_alone_is_none(images: Registry, bundle: bytes) -> None:
    image = pushed(images, b"one")
    images.attach("wine", image.digest, BUNDLE, bundle)
    with pytest.raises(ImageError, match="none of its 1 signatures"):
        check_signed(images, "wine", image.digest, OURS.trusted)
    sign(images, "wine", image.digest, OURS.signer)
    check_signed(images, "wine", image.digest, OURS.trusted)


def test_what_is_said_of_an_images_origin_does_not_let_it_go_live(images: Registry) -> None:
    image = pushed(images, b"one")
    said = statement("wine", image.digest, "https://slsa.dev/provenance/v1", {"buildDefinition": {}})
    images.attach("wine", image.digest, BUNDLE, signed(said, OURS.signer))
    with pytest.raises(ImageError, match="it has no signature"):
        check_signed(images, "wine", image.digest, OURS.trusted)


def _without_layers(manifest: Any, _: Layout) -> None:
    manifest["layers"] = []


def _without_its_data(manifest: Any, layout: Layout) -> None:
    (layout.path / "blobs" / "sha256" / manifest["layers"][0]["digest"].removeprefix("sha256:")).unlink()


def _of_no_shape(manifest: Any, _: Layout) -> None:
    manifest["layers"] = {"digest": 1}


def _claiming_to_be_large(manifest: Any, _: Layout) -> None:
    manifest["layers"][0]["size"] = artifact.MOST_BYTES + 1


def _large(manifest: Any, layout: Layout) -> None:
    data = b" " * artifact.MOST_BYTES + b"{}"
    layout.attach("wine", manifest["subject"]["digest"], "text/plain", data)
    manifest["layers"][0]["digest"] = digest_of(data)


@pytest.mark.parametrize(
    "change", [_without_layers, _without_its_data, _of_no_shape, _claiming_to_be_large, _large, None]
)
def test_a_broken_attachment_is_no_signature_and_takes_nothing_from_a_valid_one(
    tmp_path: Path, change: Callable[[Any, Layout], None] | None
) -> None:
    """Each comes first, at both places where signatures are looked for; None: the attached manifest itself is lost."""
    layout = Layout(tmp_path / "images")
    image = pushed(layout, b"one")
    broken = json.loads(layout._read(layout.attach("wine", image.digest, BUNDLE, b"{}")))
    if change is not None:
        change(broken, layout)
    manifest = json.dumps(broken).encode()
    listed = [
        {"artifactType": BUNDLE, "digest": digest_of(manifest), "mediaType": MANIFEST, "size": len(manifest)},
        {"artifactType": None, "digest": 1},
    ]
    index = json.dumps({"manifests": listed}).encode()
    if change is not None:
        layout._write_bytes(manifest)
    layout._move("wine", artifact.fallback_tag(image.digest), index, INDEX)
    with pytest.raises(ImageError, match="none of its 1 signatures"):
        check_signed(layout, "wine", image.digest, OURS.trusted)

    sign(layout, "wine", image.digest, OURS.signer)
    layout._move("wine", artifact.signature_tag(image.digest), manifest, MANIFEST)
    check_signed(layout, "wine", image.digest, OURS.trusted)


def test_of_a_registry_no_more_is_read_than_anything_attached_has(images: Registry) -> None:
    image = pushed(images, b"one")
    data = b" " * artifact.MOST_BYTES + b"{}"
    attached = images.attach("wine", image.digest, BUNDLE, data)
    with pytest.raises(ImageError, match="larger than 8 MiB"):
        images.read_referrer("wine", attached)
    with pytest.raises(ImageError, match="larger than 8 MiB"):  # whatever size its manifest claims
        images._read_attached("wine", digest_of(data))
    sign(images, "wine", image.digest, OURS.signer)
    check_signed(images, "wine", image.digest, OURS.trusted)


@pytest.mark.parametrize("nonsense", [b"not JSON", b"[]", b'{"layers": 1, "manifests": [1]}', b"[" * 100_000])
def test_nonsense_where_one_form_is_listed_takes_nothing_from_the_other(tmp_path: Path, nonsense: bytes) -> None:
    layout = Layout(tmp_path / "images")
    image = pushed(layout, b"one")
    sign(layout, "wine", image.digest, OURS.signer)
    for tag in (artifact.fallback_tag(image.digest), artifact.signature_tag(image.digest)):
        listed = layout._tagged("wine", tag)
        assert listed is not None
        layout._move("wine", tag, nonsense, MANIFEST)
        check_signed(layout, "wine", image.digest, OURS.trusted)
        layout._move("wine", tag, listed, MANIFEST)
    for tag in (artifact.fallback_tag(image.digest), artifact.signature_tag(image.digest)):
        layout._move("wine", tag, nonsense, MANIFEST)
    with pytest.raises(ImageError, match="none of its 2 signatures"):
        check_signed(layout, "wine", image.digest, OURS.trusted)
    with pytest.raises(ImageError, match="has no list of 'layers'"):
        sign(layout, "wine", image.digest, OURS.signer)


def test_a_payload_that_is_lost_takes_nothing_from_the_signature_beside_it(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "images")
    image = pushed(layout, b"one")
    layout.attach_signature("wine", image.digest, b"lost", "AAAA")
    (tmp_path / "images" / "blobs" / "sha256" / digest_of(b"lost").removeprefix("sha256:")).unlink()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(layout, "attach", lambda *_: "")
        sign(layout, "wine", image.digest, OURS.signer)
    check_signed(layout, "wine", image.digest, OURS.trusted)


def test_an_image_whose_signatures_cannot_be_asked_for_is_not_called_unsigned(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "images")
    image = pushed(layout, b"one")
    sign(layout, "wine", image.digest, OURS.signer)

    def away(*_: object) -> bytes:
        raise Unavailable("The registry is away", "try again")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(layout, "read_referrer", away)
        with pytest.raises(Unavailable):
            check_signed(layout, "wine", image.digest, OTHERS.trusted)
