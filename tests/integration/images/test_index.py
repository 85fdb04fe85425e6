"""An image for several platforms, in a folder and in a real registry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.fixtures_registry import RegistryServer

from modelyard.errors import ImageError
from modelyard.images import Image, ImageStore, Index, validate
from modelyard.images.image import INDEX, empty
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import Entry
from modelyard.images.layout import Layout
from modelyard.images.registry import Registry
from modelyard.images.transport import Transport

OURS = Interpreter.of_this_machine().platform
(OTHER,) = {"linux/amd64", "linux/arm64"} - {OURS}
BILL = "application/vnd.example.bill"


@pytest.fixture(params=["folder", "registry"])
def images(request: pytest.FixtureRequest, tmp_path: Path) -> ImageStore:
    if request.param == "folder":
        return Layout(tmp_path / "images")
    registry: RegistryServer = request.getfixturevalue("registry")
    return Registry(Transport(registry.host, insecure=True), registry.prefix, tmp_path / "packed")


def image_for(images: ImageStore, platform: str, server: str = "server") -> Image:
    architecture = platform.partition("/")[2]
    layers = [
        images.pack([Entry("opt/server", f"{server} for {platform}".encode())], "server"),
        images.pack([Entry("opt/model", b"the same for all")], "model"),
    ]
    return empty(architecture).append(layers, {}, {"all": "say this", "own": platform})


def index_of(images: ImageStore, server: str = "server") -> Index:
    return Index.of([image_for(images, platform, server) for platform in (OURS, OTHER)])


def nothing() -> None:
    """Whoever collects may go on."""


def test_it_is_the_same_in_whatever_order_its_images_come(images: ImageStore) -> None:
    index = index_of(images)

    assert Index.of(index.images[::-1]) == index
    assert json.loads(index.manifest) == {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "annotations": {"all": "say this"},
        "manifests": [
            {
                "mediaType": image.media_type,
                "digest": image.digest,
                "size": len(image.manifest),
                "platform": {"os": "linux", "architecture": architecture},
            }
            for image, architecture in zip(index.images, ("amd64", "arm64"), strict=True)
        ],
    }


def test_it_is_pulled_for_each_platform_and_copied_whole(images: ImageStore) -> None:
    index = index_of(images)
    images.push("staging/triple", index, "run")
    images.copy("staging/triple", "triple", index.digest)
    images.tag("triple", index.digest, "1")
    assert images.push("triple", index, "1") == index.digest

    for reference in ("1", index.digest):
        assert images.pull("triple", reference).platform == OURS
        other = images.pull("triple", reference, OTHER)
        assert other in index.images
        validate(other)
        assert images.pull_whole("triple", reference) == index
    assert images.resolve("triple", "1") == index.digest
    with pytest.raises(ImageError, match="is not for linux/s390x, but for linux/amd64, linux/arm64"):
        images.pull("triple", "1", "linux/s390x")
    with pytest.raises(ImageError, match="never becomes another image"):
        images.push("triple", index_of(images, "another server"), "1")


def test_what_is_attached_to_it_and_inside_of_it_belongs_to_it(images: ImageStore) -> None:
    index = index_of(images)
    images.push("triple", index, "1")
    inside = [image.digest for image in index.images]
    for subject in (index.digest, *inside):
        images.attach("triple", subject, BILL, f"of {subject}".encode())

    for subject in (index.digest, *inside):
        (bill,) = images.referrers("triple", subject)
        assert images.read_referrer("triple", bill.digest) == f"of {subject}".encode()
    assert images.inside("triple", index.digest) == inside
    assert images.inside("triple", inside[0]) == []
    contents = images.contents("triple", index.digest)
    bills = [images.referrers("triple", subject)[0].digest for subject in (index.digest, *inside)]
    layers = [layer.digest for image in index.images for layer in image.layers]
    assert {index.digest, *inside, *bills, *layers} < contents.keys()
    assert all(images.contents("triple", digest).items() < contents.items() for digest in inside)

    for digest in (*inside, index.digest):
        images.delete("triple", digest, nothing)
    assert images.inside("triple", index.digest) == []
    for digest in (index.digest, *inside):
        assert images.contents("triple", digest) == {}
        assert images.referrers("triple", digest) == []


def test_one_whose_deletion_was_broken_off_is_put_back_whole(images: ImageStore) -> None:
    index = index_of(images)
    images.push("triple", index, "1")
    images.delete("triple", index.images[1].digest, nothing)

    images.push("triple", index, "1")

    for platform in (OURS, OTHER):
        validate(images.pull("triple", "1", platform))
