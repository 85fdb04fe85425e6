"""A project whose image is to be for two platforms goes the whole way, and is made once more to the same digest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.cosign import Repository, key_pair, statements, verified
from tests.fixtures_registry import RegistryServer
from tests.pipeline.tiny import assert_serves, make_tiny
from tests.yard import Yard, change

from modelyard.cli import main
from modelyard.deployment.local import stop_all
from modelyard.images import Index, open_images, validate
from modelyard.images.image import Image, empty
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import Entry
from modelyard.store import StoreAddress
from modelyard.supply_chain import SigningKey, bom

BOTH = ("linux/amd64", "linux/arm64")
OURS = Interpreter.of_this_machine()
(OTHER,) = (platform for platform in BOTH if platform != OURS.platform)


def base_for(address: StoreAddress, home: Path, *platforms: str) -> str:
    """Push a base image with a file for a Python; return its name."""
    images = open_images(address, home)
    python = [images.pack([Entry(f"usr/local/bin/python{OURS.python}", b"interpreter", executable=True)])]
    made = [empty(platform.partition("/")[2]).append(python, {}, {}) for platform in platforms]
    images.push("bases/python", Index.of(made), f"for-{len(made)}")
    return f"{address.registry}/bases/python:for-{len(made)}"


@pytest.fixture
def yard(store_address: StoreAddress, registry: RegistryServer, tmp_path: Path) -> Iterator[Yard]:
    home = tmp_path / "home"
    address = replace(store_address, registry=f"{registry.host}/{registry.prefix}", registry_insecure=True)
    yield Yard(replace(address, base_image=base_for(address, home, *BOTH)), home)
    stop_all(home)


def test_an_image_for_two_platforms_is_built_tested_signed_and_served(
    yard: Yard, registry: RegistryServer, tmp_path: Path
) -> None:
    tiny = make_tiny(tmp_path / "tiny", yard.home)
    change(yard, tiny, "model.yaml", lambda text: f"{text}image: {{platforms: [{', '.join(BOTH)}]}}\n")
    private, public = key_pair()
    yard.signing = SigningKey(private)
    yard.address = replace(yard.address, verification_key=public)

    assert yard.run(tiny) == 0, yard.said

    assert_serves(yard, 1)
    assert (
        f"test_image: Tested on {OURS.platform}. Not tested, as nothing runs it here: the image for {OTHER}"
        in yard.said
    )
    with yard.open() as store:
        version = store.versions.get("tiny", 1)
        tested = store.steps.get(yard.pipeline_run, "test_image")
    assert tested is not None
    assert tested.result is not None
    assert tested.result["not_tested"] == [OTHER]
    assert version.image_digest is not None
    images = open_images(yard.address, tmp_path / "another")
    whole = images.pull_whole("tiny", "1")
    assert isinstance(whole, Index)
    assert whole.digest == version.image_digest
    assert [image.platform for image in whole.images] == list(BOTH)
    for image in whole.images:
        validate(image)
    assert shared(whole.images[0]) == shared(whole.images[1])
    assert set(whole.images[0].layers) - set(whole.images[1].layers)

    raw = Repository(registry.host, f"{registry.prefix}/tiny")
    assert len(verified(raw, whole.digest, public)) == 1
    assert len(statements(raw, whole.digest, public)) == 2
    for subject, bills in ((whole.digest, 2), *((image.digest, 1) for image in whole.images)):
        kinds = [one.artifact_type for one in images.referrers("tiny", subject)]
        assert kinds.count(bom.MEDIA_TYPE) == bills

    runner = CliRunner(env={**yard.address.to_environment(), "MODELYARD_HOME": str(tmp_path / "elsewhere")})
    again = runner.invoke(main, ["image", "rebuild", "tiny:1", "--verify"])
    assert again.exit_code == 0, again.output
    assert "tiny:1 is reproduced: built anew, it has the same digest." in again.output


def shared(image: Image) -> list[str]:
    """Return the digests of the layers that are the project's and the model's own."""
    return [layer.digest for layer in image.layers if layer.kind in ("project", "model")]


def test_what_cannot_be_built_or_tested_is_refused_before_anything_runs(yard: Yard, tmp_path: Path) -> None:
    tiny = make_tiny(tmp_path / "tiny", yard.home)
    change(yard, tiny, "model.yaml", lambda text: f"{text}image: {{platforms: [{OTHER}]}}\n")
    assert yard.run(tiny) == 65
    assert f"The image is to be for {OTHER}, and this step runs on {OURS.platform}: nothing could test it" in yard.said
    assert yard.run(tiny, release=False) == 0, yard.said  # it makes no image

    change(yard, tiny, "model.yaml", lambda text: text.replace(OTHER, ", ".join(BOTH)))
    yard.address = replace(yard.address, base_image=base_for(yard.address, yard.home, OURS.platform))
    assert yard.run(tiny) == 65
    assert f"There is no base image for {OTHER}: " in yard.said
    assert f"is not for {OTHER}, but for {OURS.platform}" in yard.said
    assert "train: " not in yard.said
