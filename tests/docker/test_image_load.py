"""An image that is kept in a folder, with nothing below it, at a Docker engine: `docker run` serves it."""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures_docker import Engine
from tests.model_images import write_model

from modelyard.background import free_port
from modelyard.docker_engine import connect, load, pull
from modelyard.doctor.engine import look
from modelyard.environments import ensure, ensure_server, read_lock
from modelyard.errors import ImageError, Unavailable
from modelyard.images import Image, Index, open_images
from modelyard.images.base import pull_base
from modelyard.images.docker_archive import docker_archive, on_base
from modelyard.images.image import empty
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import Entry
from modelyard.images.layout import Layout
from modelyard.images.model_image import PlatformParts, build_model_image
from modelyard.store import StoreAddress


def test_an_image_of_a_folder_is_put_on_a_base_and_runs(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    images = Layout(tmp_path / "images")  # of zstd, which an engine before 23 does not read
    project, model = write_model(tmp_path, 3, "pass")
    environment = ensure(read_lock(project / "requirements.txt"), images, tmp_path, print)
    image = build_model_image(
        [PlatformParts(environment, ensure_server(images, tmp_path, print, environment.python))],
        images=images,
        project=project,
        model=model,
        commit=None,
        log=print,
    )
    assert isinstance(image, Image)
    of_registry = StoreAddress("mongodb://unused", "file:///unused", f"{engine.registry}/x", registry_insecure=True)
    base = pull_base(f"{engine.registry}/library/python:3.11-slim", images, of_registry, tmp_path)
    said: list[str] = []
    client = connect()
    whole = on_base(image, base, images, Interpreter.of_this_machine().python)
    load(client, docker_archive(whole, "times:1", said.append))
    assert len(said) == len({layer.diff_id for layer in whole.layers})
    assert said[-2].split(", ")[1].startswith("model: ")

    port = free_port()
    container = client.create_container(
        "times:1",
        ports=[8080],
        host_config=client.create_host_config(
            port_bindings={8080: ("127.0.0.1", port)}, read_only=True, cap_drop=["ALL"], tmpfs=["/tmp"]
        ),
    )
    try:
        client.start(container)
        assert _answer(f"http://127.0.0.1:{port}/predict", {"rows": [{"x": 5}]}) == [{"prediction": 15}]
    finally:
        client.remove_container(container, force=True)
        client.remove_image("times:1")


def test_an_engine_takes_its_own_platforms_image_of_an_index(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    address = StoreAddress("mongodb://unused", "file:///unused", f"{engine.registry}/index", registry_insecure=True)
    images = open_images(address, tmp_path, "gzip")
    made = [
        empty(architecture).append([images.pack([Entry("for", architecture.encode())], "model")], {}, {})
        for architecture in ("amd64", "arm64")
    ]
    reference = images.reference("both", images.push("both", Index.of(made)))
    client = connect()

    pull(client, reference, None, print)

    found = client.inspect_image(reference)  # by the index's digest, as deployments name it
    assert f"linux/{found['Architecture']}" == Interpreter.of_this_machine().platform
    assert found["RepoDigests"] == [reference]
    client.remove_image(reference)


def _answer(url: str, body: Any) -> Any:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=10) as answer:
                return json.load(answer)["predictions"]
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_what_an_engine_cannot_pull_is_told_in_words(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    client = connect()
    with pytest.raises(ImageError, match=r"cannot pull .*/nothing:1(?s:.*)→ check the image's name"):
        pull(client, f"{engine.registry}/nothing:1", None, print)
    if int(client.version()["Version"].partition(".")[0]) < 23:
        address = StoreAddress("mongodb://unused", "file:///unused", f"{engine.registry}/zstd", registry_insecure=True)
        images = open_images(address, tmp_path)
        lock = tmp_path / "requirements.txt"
        lock.write_text("six==1.17.0\n")
        made = ensure(read_lock(lock), images, tmp_path, print)
        assert made.reference is not None
        with pytest.raises(ImageError, match="Docker before 23 reads no zstd: choose gzip as the layer compression"):
            pull(client, made.reference, None, print)
        assert [one.state for one in look(address)] == ["ok", "failed"]
        assert [one.state for one in look(replace(address, layer_compression="gzip"))] == ["ok"]
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(Unavailable, match=r"(?s)The Docker engine cannot be reached.*check that it runs"):
        connect()
