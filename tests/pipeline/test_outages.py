"""A server that is away is named in one clear error; production goes on, and so does the same run once it is back."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures_registry import push_base, running_registry
from tests.pipeline.tiny import assert_nothing_live, assert_serves
from tests.yard import Yard, step_records

from modelyard.background import free_port
from modelyard.execution import Command
from modelyard.execution.local import LocalStep
from modelyard.images import open_images
from modelyard.images.interpreter import Interpreter
from modelyard.store import StoreAddress

NOBODY = "127.0.0.1:9"  # nobody listens there


def modelyard_run(project: Path, address: StoreAddress, home: Path) -> subprocess.CompletedProcess[str]:
    """Call the command as a person does."""
    command = [sys.executable, "-m", "modelyard", "run", str(project)]
    environment = {"PATH": "/usr/bin:/bin", "MODELYARD_HOME": str(home), **address.to_environment()}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_a_store_out_of_reach_is_named_without_its_password(yard: Yard, tiny: Path, tmp_path: Path, s3: Any) -> None:
    there = replace(
        yard.address,
        artifacts=f"s3://{s3.bucket}/models",
        s3_endpoint_url=s3.endpoint_url,
        s3_region=s3.region,
        s3_access_key=s3.access_key,
        s3_secret_key=s3.secret_key,
    )
    endpoint = f"http://{NOBODY}"
    yard.address = replace(there, s3_endpoint_url=endpoint, s3_secret_key="hunter2")
    assert yard.run(tiny) == 75
    assert f"Step 'prepare' failed: Bucket '{s3.bucket}' at {endpoint} cannot be reached" in yard.said
    assert "hunter2" not in yard.said
    assert_nothing_live(yard)

    yard.address = there
    assert yard.go_on(yard.pipeline_run) == 0, yard.said
    assert_serves(yard, 1)

    away = replace(there, mongo_uri=f"mongodb://me:hunter2@{NOBODY}/")
    home = tmp_path / "another-home"
    home.mkdir()
    done = modelyard_run(tiny, away, home)
    assert (done.returncode, done.stdout) == (75, "")
    assert done.stderr.startswith(f"The database at {NOBODY} cannot be reached: ")
    assert len(done.stderr.splitlines()) == 2
    assert "hunter2" not in done.stderr

    lines: list[str] = []
    assert LocalStep(Command("deploy", yard.pipeline_run, try_number=2), away, home, lines.append).run() == 75
    assert lines[-2].startswith(f"Step 'deploy' failed: The database at {NOBODY} cannot be reached: ")
    assert "hunter2" not in "\n".join(lines)
    assert "Traceback" not in "\n".join(lines)
    assert list(home.iterdir()) == []
    assert_serves(yard, 1)


class Switch:
    """A registry that can be away, and comes back as it was."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = ExitStack()
        # Below those that the kernel gives to anyone: nobody else gets it while the registry is away.
        self._port = free_port(*random.sample(range(22_000, 30_000), 20))
        self.host = f"127.0.0.1:{self._port}"

    def on(self) -> None:
        assert self._running.enter_context(running_registry(self._folder, port=self._port)) == self.host

    def off(self) -> None:
        self._running.close()


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[Switch]:
    folder = tmp_path / "registry"
    folder.mkdir()
    registry = Switch(folder)
    registry.on()
    yield registry
    registry.off()


def test_a_registry_that_goes_away_is_named_and_the_run_goes_on_where_it_was(
    yard: Yard, tiny: Path, switch: Switch
) -> None:
    there = replace(
        yard.address,
        registry=f"{switch.host}/models",
        registry_insecure=True,
        registry_username="me",
        registry_password="hunter2",
    )
    base = push_base(there, yard.home, Interpreter.of_this_machine().python)
    yard.address = replace(there, base_image=base)
    assert yard.run(tiny) == 0, yard.said
    assert f"containerise: Base image {base}" in yard.said

    # What `test_image` says last: it needs the registry no more, and `push` needs it again.
    yard.watch = lambda line: switch.off() if "golden predictions answered as at training" in line else None
    assert yard.run(tiny) == 75
    yard.watch = None
    second = yard.pipeline_run
    assert f"push: Step 'push' failed: The registry {switch.host} cannot be reached: " in yard.said
    assert "hunter2" not in yard.said
    assert_serves(yard, 1)
    with yard.open() as store:
        assert store.versions.get("tiny", 2).image_digest is None

    assert yard.run(tiny) == 75
    assert f"prepare: Step 'prepare' failed: The registry {switch.host} cannot be reached: " in yard.said
    assert_serves(yard, 1)

    switch.on()
    assert yard.go_on(second) == 0, yard.said
    assert "test_image: Step 'test_image' was done already by try 1; its result stands." in yard.said
    assert_serves(yard, 2)
    with yard.open() as store:
        versions = store.versions.find(name="tiny").versions
        steps = step_records(store, second)
        runs = store.mongo[yard.address.database]["runs"].count_documents({})
    assert [version.version for version in versions] == [2, 1]
    assert runs == 2
    assert {name: record.try_number for name, record in steps.items() if record.try_number > 1} == {"push": 2}
    assert open_images(yard.address, yard.home).resolve("tiny", "2") == versions[0].image_digest

    yard.address = replace(yard.address, base_image=f"{NOBODY}/python:3")
    assert yard.run(tiny) == 75
    failed = f"containerise: Step 'containerise' failed: The base image {NOBODY}/python:3 is not to be had: "
    assert f"{failed}The registry {NOBODY} cannot be reached: " in yard.said
    assert_serves(yard, 2)
