"""A registry that fails in the middle: a completed push or one clear error, and never a tag on an incomplete image."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from tests.authority import Authority
from tests.faulty_proxy import Fault, FaultyProxy, faulty_proxy
from tests.fixtures_registry import running_registry

from modelyard.errors import ImageError, Unavailable
from modelyard.images import blobs
from modelyard.images.image import Image, empty, validate
from modelyard.images.layer import Entry
from modelyard.images.registry import Registry
from modelyard.images.transport import Transport

CONTENT = random.Random(7).randbytes(500_000)


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def proxy(scheme: str, registry: Any, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """Before a registry of plain HTTP, which does not know when it is reached by TLS."""
    monkeypatch.setattr("modelyard.images.attempts._PAUSE", 0.01)
    monkeypatch.setattr(blobs, "_CHUNK", 100_000)
    with faulty_proxy(registry.host, authority.tls if scheme == "https" else None) as proxy:
        yield proxy


@pytest.fixture
def images(scheme: str, proxy: FaultyProxy, registry: Any, authority: Authority, tmp_path: Path) -> Registry:
    if scheme == "http":
        transport = Transport(proxy.host, insecure=True)
    else:
        transport = Transport(proxy.host, ca_bundle=str(authority.certificate_file))
    return Registry(transport, registry.prefix, tmp_path / "packed")


@pytest.fixture
def behind(registry: Any, tmp_path: Path) -> Registry:
    """The same registry, without the proxy before it."""
    return Registry(Transport(registry.host, insecure=True), registry.prefix, tmp_path / "packed")


def image_of(images: Registry) -> Image:
    return empty("amd64").append([images.pack([Entry("file", CONTENT)], "model")], {}, {})


@pytest.mark.parametrize(
    ("method", "part", "fault"),
    [
        ("HEAD", "/blobs/", 503),
        ("POST", "/uploads/", "drop before"),
        ("POST", "/uploads/", "drop after"),
        ("POST", "/uploads/", 429),
        ("PATCH", "/uploads/", "drop before"),
        ("PATCH", "/uploads/", "drop after"),
        ("PATCH", "/uploads/", "half of the request"),
        ("PATCH", "/uploads/", 500),
        ("PUT", "/uploads/", "drop before"),
        ("PUT", "/uploads/", "drop after"),
        ("PUT", "/uploads/", 502),
        ("PUT", "/manifests/", "drop before"),
        ("PUT", "/manifests/", "drop after"),
        ("PUT", "/manifests/1", 504),
    ],
)
def test_one_fault_is_overcome(
    method: str, part: str, fault: Fault, proxy: FaultyProxy, images: Registry, behind: Registry
) -> None:
    image = image_of(images)
    proxy.faults.append((method, part, fault))

    images.push("wine", image, "1")

    assert proxy.faults == []
    assert behind.resolve("wine", "1") == image.digest
    validate(behind.pull("wine", "1"))


def test_an_upload_goes_on_where_it_broke(proxy: FaultyProxy, images: Registry) -> None:
    image = image_of(images)
    proxy.faults += [("PATCH", "", "drop before"), ("PATCH", "", 503)]

    images.push("wine", image)

    uploads = [seen for seen in proxy.seen if seen.startswith("POST")]
    patches = [seen for seen in proxy.seen if seen.startswith("PATCH")]
    assert len(uploads) == 2  # the layer, the config: none was begun anew
    assert len(patches) == 6 + 2  # six chunks, of which one took three tries


def test_a_download_goes_on_where_it_broke(proxy: FaultyProxy, images: Registry, behind: Registry) -> None:
    image = image_of(behind)
    behind.push("wine", image, "1")
    pulled = images.pull("wine", "1")
    proxy.faults += [
        ("GET", image.layers[0].digest, "half of the answer"),
        ("GET", image.layers[0].digest, "drop before"),
    ]

    validate(pulled)

    assert proxy.faults == []


@pytest.mark.parametrize(
    ("method", "part"), [("HEAD", "/blobs/"), ("PATCH", ""), ("PUT", "/uploads/"), ("PUT", "/manifests/")]
)
@pytest.mark.parametrize("fault", [503, "drop before"])
def test_what_does_not_end_is_one_error_and_no_tag(
    method: str, part: str, fault: Fault, proxy: FaultyProxy, images: Registry, behind: Registry
) -> None:
    image = image_of(images)
    proxy.faults += [(method, part, fault)] * 100

    with pytest.raises(Unavailable, match="registry 127"):
        images.push("wine", image, "1")

    assert behind.resolve("wine", "1") is None
    proxy.faults.clear()
    images.push("wine", image, "1")
    validate(behind.pull("wine", "1"))


@pytest.mark.parametrize("status", [400, 401, 403, 413, 507])
def test_a_refusal_is_not_tried_again(status: int, proxy: FaultyProxy, images: Registry, behind: Registry) -> None:
    image = image_of(images)
    proxy.faults += [("PATCH", "", status)] * 100

    with pytest.raises(ImageError) as caught:
        images.push("wine", image, "1")

    assert caught.value.remedy
    assert len(proxy.faults) == 99
    assert behind.resolve("wine", "1") is None


def test_a_tag_that_is_taken_while_an_image_is_sent_stays_what_it_is(images: Registry, behind: Registry) -> None:
    image = image_of(images)
    other = empty("amd64").append([images.pack([Entry("file", b"other")], "model")], {}, {})
    layer = image.layers[0]

    def slowly() -> BinaryIO:
        behind.push("wine", other, "1")  # somebody else's, meanwhile
        return layer.opener()

    with pytest.raises(ImageError, match=f"wine:1 is {other.digest} already"):
        images.push("wine", replace(image, layers=(replace(layer, opener=slowly),)), "1")

    assert behind.resolve("wine", "1") == other.digest


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a small disk for a registry")
def test_a_registry_whose_disk_is_full_has_no_tag_and_takes_the_image_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelyard.images.attempts._PAUSE", 0.01)
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tests", disk], check=True)
    try:
        with running_registry(disk) as host:
            images = Registry(Transport(host, insecure=True), "", tmp_path / "packed")
            layers = [images.pack([Entry("file", random.Random(seed).randbytes(3_000_000))]) for seed in (1, 2)]
            image = empty("amd64").append(layers, {}, {})

            with pytest.raises(Unavailable, match=f"registry {host}") as caught:
                images.push("wine", image, "1")

            assert caught.value.remedy
            assert images.resolve("wine", "1") is None
            subprocess.run(["mount", "-o", "remount,size=32m", disk], check=True)
            images.push("wine", image, "1")
            validate(images.pull("wine", "1"))
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_download_that_never_ends_is_an_error(proxy: FaultyProxy, images: Registry, behind: Registry) -> None:
    image = image_of(behind)
    behind.push("wine", image, "1")
    pulled = images.pull("wine", "1")
    proxy.faults += [("GET", image.layers[0].digest, "half of the answer")] * 100

    with pytest.raises(Unavailable, match="breaks off"):
        validate(pulled)
