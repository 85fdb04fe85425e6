"""How a step's containers end on a real engine, which knows no deadline: what is in them keeps it, whoever waits."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.fixtures_docker import Engine
from tests.forwarding import forwarded
from tests.model_images import MODEL, ModelImages
from tests.released_models import pipeline_run
from tests.searching import made_up

from modelyard.errors import ModelyardError
from modelyard.execution import Command, ImageBeside, ProjectImage
from modelyard.execution.container import container_beside, project_container, step_container
from modelyard.execution.credentials import credentials_line
from modelyard.execution.docker import DockerStep, Exit, Setting
from modelyard.store import Store, StoreAddress

_SECONDS = 8
_RUN = "0123456789abcdef" * 4


@pytest.fixture
def client(engine: Engine) -> Iterator[Any]:
    """A client; what a step has left with the engine is gone afterwards."""
    client = engine.client()
    yield client
    labelled = {"label": "modelyard.io/step"}
    for one in client.containers(all=True, filters=labelled):
        client.remove_container(one["Id"], force=True, v=True)
    for network in client.networks(filters=labelled):
        client.remove_network(network["Id"])


@contextmanager
def silence(host: str) -> Iterator[str]:
    """Yields the address of a server that takes connections and never says a word."""
    with socket.create_server((host, 0)) as server:
        yield f"{host}:{server.getsockname()[1]}"


@pytest.fixture
def address(engine: Engine, store_address: StoreAddress) -> Iterator[StoreAddress]:
    """A store whose database containers reach."""
    database = urlsplit(store_address.mongo_uri)
    with forwarded(engine.host, (str(database.hostname), int(database.port or 0))) as reachable:
        uri = store_address.mongo_uri.replace(f"{database.hostname}:{database.port}", reachable)
        # It names itself by its loopback address.
        yield replace(store_address, mongo_uri=f"{uri}&directConnection=true")


def setting(runner_image: str, address: StoreAddress, images_beside: Mapping[str, str], deadline: int) -> Setting:
    return Setting(
        runner_image,
        network="bridge",
        deadline_seconds=deadline,
        images_beside=images_beside,
        login=None,
        credentials=credentials_line(address, None, None, None),
        told={},
    )


def test_a_step_that_takes_too_long_ends_and_says_so(
    engine: Engine, client: Any, runner_image: str, address: StoreAddress
) -> None:
    lines: list[str] = []
    with silence(engine.host) as nobody, Store.open(address) as store:
        run = pipeline_run(store, "modelyard-gc", "waits", params={"delete": False, "older_than": "7d"})
        silent = replace(
            address,
            artifacts="s3://bucket/prefix",
            s3_endpoint_url=f"http://{nobody}",
            s3_access_key="key",
            s3_secret_key=made_up("artifacts"),
        )
        with_deadline = setting(runner_image, silent, {}, _SECONDS)
        ended = DockerStep(client, Command("gc", run.id), "a-try", with_deadline, lines.append).run()
    assert ended == Exit(ModelyardError.exit_code, 1, out_of_memory=False), lines
    assert f"Step 'gc' failed: It has taken {_SECONDS} seconds, and may take no more." in "\n".join(lines)
    assert "deadline_seconds" in "\n".join(lines)


def test_a_step_that_fails_waits_for_nothing_beside_it(
    client: Any, runner_image: str, address: StoreAddress, model_images: ModelImages
) -> None:
    digest = model_images.build(3, "pass")
    command = Command("validate", _RUN, beside={"production": ImageBeside(MODEL, digest, MODEL, 1)})
    beside = {"production": model_images.images.reference(MODEL, digest)}
    lines: list[str] = []
    ended = DockerStep(client, command, "a-try", setting(runner_image, address, beside, 3600), lines.append).run()
    assert ended.code == ModelyardError.exit_code, lines
    assert lines[-1].endswith(f"is kept: docker logs modelyard-validate-{_RUN[:12]}-a-try")
    (kept,) = client.containers(all=True, filters={"label": "modelyard.io/step"})
    assert kept["State"] == "exited"


def test_what_is_beside_a_step_ends_though_the_step_never_began(
    engine: Engine, client: Any, runner_image: str, model_images: ModelImages
) -> None:
    digest = model_images.build(3, "pass")
    project = ProjectImage(f"{engine.registry}/library/python:3.11-slim", "python3")
    command = Command("validate", _RUN, project=project, beside={"production": ImageBeside(MODEL, digest, MODEL, 1)})
    image = model_images.images.reference(MODEL, digest)
    for name in (runner_image, project.reference, image):
        client.pull(name)
    client.create_network("group", internal=True, labels={"modelyard.io/step": "validate"})
    manifest = step_container(
        command, "group", runner_image=runner_image, network="bridge", deadline_seconds=_SECONDS, told={}
    )
    step = client.create_container_from_config(manifest)["Id"]
    for manifest in (
        container_beside(
            command, "group", "production", command.beside["production"], image, deadline_seconds=_SECONDS
        ),
        project_container(command, "group", project, step=step, network="bridge", deadline_seconds=_SECONDS),
    ):
        container = client.create_container_from_config(manifest)["Id"]
        client.start(container)
        assert client.wait(container, timeout=120)["StatusCode"] == 0, client.logs(container).decode()
        state = client.inspect_container(container)["State"]
        took = moment(state["FinishedAt"]) - moment(state["StartedAt"])
        assert took.total_seconds() >= _SECONDS - 0.5, client.logs(container).decode()


def moment(text: str) -> datetime:
    return datetime.fromisoformat(f"{text[:26].rstrip('Z')}+00:00")  # of nanoseconds
