from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import ImageError, Unavailable
from modelyard.images import blobs
from modelyard.images.image import Image, empty, validate
from modelyard.images.layer import Entry
from modelyard.images.open import open_images
from modelyard.images.registry import Registry
from modelyard.images.store import ImageStore
from modelyard.images.transport import Transport
from modelyard.store.address import StoreAddress


def opened(server: Any, home: Path, **account: Any) -> ImageStore:
    address = StoreAddress(
        mongo_uri="mongodb://unused/",
        artifacts="file:///unused",
        registry=f"{server.host}/{server.prefix}",
        registry_insecure=True,
        **account,
    )
    return open_images(address, home)


def image_of(images: ImageStore, content: bytes) -> Image:
    layers = [images.pack([Entry("below", b"base")], "environment"), images.pack([Entry("file", content)], "model")]
    return empty("amd64").append(layers, {"User": "1:1"}, {"key": "value"})


@pytest.fixture
def images(registry: Any, tmp_path: Path) -> ImageStore:
    return opened(registry, tmp_path / "home")


def test_what_is_pushed_is_pulled_by_another_client(images: ImageStore, registry: Any, tmp_path: Path) -> None:
    image = image_of(images, b"one")

    assert images.push("staging/wine", image, "1") == image.digest

    other = opened(registry, tmp_path / "another home")
    for reference in ("1", image.digest):
        pulled = other.pull("staging/wine", reference)
        assert (pulled.manifest, pulled.config, pulled.layers) == (image.manifest, image.config, image.layers)
        validate(pulled)
    assert other.reference("wine", "sha256:1").endswith(f"{registry.prefix}/wine@sha256:1")


def test_large_blobs_go_in_chunks(
    images: ImageStore, registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "_CHUNK", 100_000)
    image = image_of(images, random.Random(1).randbytes(1_234_567))

    images.push("wine", image)

    validate(opened(registry, tmp_path / "another home").pull("wine", image.digest))


def test_a_tag_never_moves(images: ImageStore) -> None:
    first, second = image_of(images, b"one"), image_of(images, b"two")
    images.push("wine", first, "1")
    images.push("wine", first, "1")
    images.push("wine", second)

    with pytest.raises(ImageError, match=f"wine:1 is {first.digest} already"):
        images.push("wine", second, "1")
    with pytest.raises(ImageError, match=f"wine:1 is {first.digest} already"):
        images.tag("wine", second.digest, "1")
    assert images.resolve("wine", "1") == first.digest
    assert images.resolve("wine", "2") is None


def test_copy_mounts_and_sends_no_layer(images: ImageStore, registry: Any, tmp_path: Path) -> None:
    digest = images.push("staging/wine", image_of(images, b"one"))
    uploads: list[str] = []

    class Counting(Transport):
        def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
            uploads.extend([method] if "/uploads/" in url and "mount=" not in url else [])
            return super().request(method, url, *args, **kwargs)

    other = Registry(Counting(registry.host, insecure=True), registry.prefix, tmp_path / "packed")
    other.copy("staging/wine", "wine", digest)
    other.tag("wine", digest, "7")

    assert images.resolve("wine", "7") == digest
    validate(images.pull("wine", "7"))
    assert len(uploads) == 2  # the small config: begun, ended


def test_a_layer_in_another_repository_is_never_read(images: ImageStore, registry: Any, tmp_path: Path) -> None:
    environment = images.pack([Entry("packages", b"x" * 1000)], "environment")
    images.push("environment", empty("amd64").append([environment], {}, {}), "lock")

    other = opened(registry, tmp_path / "another home")
    layer = replace(other.pull("environment", "lock").layers[0], opener=lambda: pytest.fail("the layer was read"))
    model = other.pack([Entry("model", b"m")], "model")
    other.push("staging/wine", empty("amd64").append([layer, model], {}, {}), "1")

    validate(images.pull("staging/wine", "1"))


def test_attachments_are_listed_and_read(images: ImageStore) -> None:
    digest = images.push("wine", image_of(images, b"one"), "1")

    first = images.attach("wine", digest, "application/vnd.example.a", b"a")
    second = images.attach("wine", digest, "application/vnd.example.b", b"b")
    images.attach("wine", digest, "application/vnd.example.a", b"a")

    listed = images.referrers("wine", digest)
    assert sorted((found.digest, found.artifact_type) for found in listed) == sorted(
        [(first, "application/vnd.example.a"), (second, "application/vnd.example.b")]
    )
    assert images.read_referrer("wine", second) == b"b"
    assert images.referrers("wine", f"sha256:{'0' * 64}") == []


def test_what_is_not_there_is_said(images: ImageStore, registry: Any) -> None:
    with pytest.raises(ImageError, match=f"There is no image {registry.host}/{registry.prefix}/wine:1"):
        images.pull("wine", "1")


def test_blobs_damaged_in_the_registry_are_found(images: ImageStore, registry: Any) -> None:
    if registry.folder is None:
        pytest.skip("the registry's files are elsewhere: unset REGISTRY and CLUSTER_REGISTRY")
    image = image_of(images, random.Random(2).randbytes(100))
    images.push("wine", image, "1")
    layer = image.layers[1].digest.removeprefix("sha256:")
    (data,) = registry.folder.rglob(f"blobs/**/{layer}/data")
    data.write_bytes(data.read_bytes()[:-1] + b"?")

    with pytest.raises(ImageError, match=layer):
        validate(images.pull("wine", "1"))


def test_an_account_lets_in_and_a_wrong_one_does_not(guarded_registry: Any, tmp_path: Path) -> None:
    images = opened(guarded_registry, tmp_path, registry_username="name", registry_password=guarded_registry.password)
    digest = images.push("wine", image_of(images, b"one"), "1")
    validate(images.pull("wine", digest))

    wrong = {"registry_username": "name", "registry_password": "wr0ng"}
    for account in ({}, wrong):
        with pytest.raises(ImageError, match=r"account|refuses") as caught:
            opened(guarded_registry, tmp_path, **account).pull("wine", "1")
        assert "user name" in str(caught.value.remedy)
        assert "wr0ng" not in str(caught.value)


def test_the_account_of_dockers_configuration_is_used(
    guarded_registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".docker").mkdir()
    auth = base64.b64encode(f"name:{guarded_registry.password}".encode()).decode()
    (tmp_path / ".docker" / "config.json").write_text(
        f'{{"auths": {{"{guarded_registry.host}": {{"auth": "{auth}"}}}}}}'
    )
    monkeypatch.setenv("HOME", str(tmp_path))

    assert opened(guarded_registry, tmp_path).resolve("wine", "none") is None


@pytest.mark.parametrize("section", ["credHelpers", "credsStore"])
def test_the_account_of_dockers_credential_helper_is_used(
    section: str, guarded_registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "bin" / "docker-credential-tests"
    helper.parent.mkdir()
    answer = json.dumps({"Username": "name", "Secret": guarded_registry.password})
    helper.write_text(f"#!/bin/sh\n[ \"$1 $(cat)\" = 'get {guarded_registry.host}' ] && echo '{answer}'\n")
    helper.chmod(0o755)
    (tmp_path / ".docker").mkdir()
    named = {guarded_registry.host: "tests"} if section == "credHelpers" else "tests"
    (tmp_path / ".docker" / "config.json").write_text(json.dumps({section: named}))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{helper.parent}:{os.environ['PATH']}")

    assert opened(guarded_registry, tmp_path).resolve("wine", "none") is None


def test_a_registry_that_is_away_is_worth_another_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.images.attempts._PAUSE", 0.001)
    images = Registry(Transport("127.0.0.1:9", insecure=True), "", tmp_path)

    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9 cannot be reached: .*refused"):
        images.resolve("wine", "1")


def test_plain_http_is_spoken_only_when_told(registry: Any, tmp_path: Path) -> None:
    images = Registry(Transport(registry.host), registry.prefix, tmp_path)

    with pytest.raises(ImageError, match="cannot be trusted") as caught:
        images.resolve("wine", "1")
    assert "insecure" in str(caught.value.remedy)


def test_the_registry_serves_the_bytes_that_were_digested(images: ImageStore, registry: Any) -> None:
    image = image_of(images, b"one")
    images.push("wine", image, "1")

    url = f"http://{registry.host}/v2/{registry.prefix}/wine/manifests/1"
    asked = urllib.request.Request(url, headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
    with urllib.request.urlopen(asked) as answer:
        body = answer.read()
    assert f"sha256:{hashlib.sha256(body).hexdigest()}" == image.digest


def test_tags_are_listed_page_by_page(images: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.images.registry._PAGE", 2)
    digest = images.push("wine", image_of(images, b"one"))
    for tag in "12345":
        images.tag("wine", digest, tag)

    assert sorted(images.names("wine")) == ["1", "2", "3", "4", "5"]
