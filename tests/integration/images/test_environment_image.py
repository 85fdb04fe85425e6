from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures_registry import push_base
from tests.unpacking import unpack

from modelyard.environments import EnvironmentRef, ensure, read_lock
from modelyard.environments.reference import python_in_image
from modelyard.errors import EnvironmentBuildError, ImageError
from modelyard.images import ImageStore, open_images, validate
from modelyard.images.base import pull_image
from modelyard.images.environment_image import ensure_environment_image
from modelyard.images.image import Image, empty
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import Entry
from modelyard.store import StoreAddress

PYTHON = Interpreter.of_this_machine().python


class Making:
    """Makes environment images of one small lock, in one registry."""

    def __init__(self, registry: Any, folder: Path) -> None:
        self.address = StoreAddress(
            "mongodb://unused", "file:///unused", f"{registry.host}/{registry.prefix}", registry_insecure=True
        )
        self.home = folder / "home"
        self.images: ImageStore = open_images(self.address, self.home)
        # Enough of a runner image for what is laid on it; it is in no repository of the store's.
        self.runner = push_base(self.address, folder, PYTHON)
        lock = folder / "requirements.txt"
        lock.write_text("six==1.17.0\n")
        self.environment = ensure(read_lock(lock), self.images, self.home, print)
        self.said: list[str] = []

    def make(self, runner: str | None = None, environment: EnvironmentRef | None = None) -> Image:
        name = ensure_environment_image(
            runner or self.runner,
            environment or self.environment,
            images=self.images,
            address=self.address,
            home=self.home,
            log=self.said.append,
        )
        assert name.startswith(f"{self.address.registry}/environment-image@sha256:")
        return pull_image(name, self.address, self.home)


@pytest.fixture
def making(registry: Any, tmp_path: Path) -> Making:
    return Making(registry, tmp_path)


def test_it_is_the_runner_image_with_the_environment_ready_to_run(making: Making, tmp_path: Path) -> None:
    image = making.make()

    validate(image)
    runner = pull_image(making.runner, making.address, making.home)
    assert image.layers[: len(runner.layers)] == runner.layers
    assert [layer.kind for layer in image.layers[-2:]] == ["environment", "interpreter"]
    run, of_runner = image.parsed_config["config"], runner.parsed_config["config"]
    assert {key: value for key, value in run.items() if key != "Labels"} == of_runner
    assert image.parsed_manifest["annotations"]["org.opencontainers.image.base.digest"] == runner.digest

    unpack(image, tmp_path / "tree")
    python = tmp_path / "tree" / "opt" / "modelyard" / "environment" / "bin" / "python"
    assert python.readlink() == Interpreter.of_this_machine().executable
    assert python_in_image(making.environment, tmp_path / "tree") == python
    assert python_in_image(replace(making.environment, diff_id="sha256:other"), tmp_path / "tree") is None
    assert python_in_image(making.environment, tmp_path) is None


def test_one_on_another_python_is_not_used(making: Making, tmp_path: Path) -> None:
    unpack(making.make(), tmp_path / "tree")
    config = tmp_path / "tree" / "opt" / "modelyard" / "environment" / "pyvenv.cfg"
    config.write_text(config.read_text().replace(f"version = {PYTHON}", "version = 3.5"))

    assert python_in_image(making.environment, tmp_path / "tree") is None


def test_it_is_made_once_for_a_lock_and_a_runner(making: Making, tmp_path: Path, registry: Any) -> None:
    first = making.make()
    assert making.said[-1].startswith("Environment image sha256:")
    assert making.make().digest == first.digest
    assert "built already" in making.said[-1]

    layers = [making.images.pack([Entry("opt/modelyard/new", b"")])]
    other = pull_image(making.runner, making.address, making.home).append(layers, {}, {})
    making.images.push("runner", other, "2")
    newer = making.make(runner=f"{making.address.registry}/runner:2")
    assert newer.layers[-2:] == first.layers[-2:]
    assert newer.digest != first.digest


def test_the_same_inputs_are_the_same_image_in_another_registry(making: Making, registry: Any, tmp_path: Path) -> None:
    other = replace(registry, prefix=f"{registry.prefix}-other")
    (tmp_path / "other").mkdir()
    assert Making(other, tmp_path / "other").make().digest == making.make().digest


def test_a_runner_for_another_platform_or_of_no_name_is_refused(making: Making) -> None:
    making.images.push("strange", empty("s390x").append([making.images.pack([Entry("a", b"")])], {}, {}), "1")
    with pytest.raises(EnvironmentBuildError, match="is for linux/s390x, and this step runs on linux/"):
        making.make(runner=f"{making.address.registry}/strange:1")
    with pytest.raises(ImageError, match=r"There is no image .*/nowhere:1"):
        making.make(runner=f"{making.address.registry}/nowhere:1")
