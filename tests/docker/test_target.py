"""Services on a real Docker engine."""

from __future__ import annotations

import json
import os
import signal
import threading
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.fixtures_docker import Engine
from tests.load import Load
from tests.model_images import MODEL, ModelImages

from modelyard.deployment.docker import DockerTarget
from modelyard.errors import DeploymentFailed, Superseded


def ask(address: str) -> tuple[Any, str]:
    body = json.dumps({"rows": [{"x": 2}]}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{address}/predict", body), timeout=30) as answer:
        return json.load(answer)["predictions"][0]["prediction"], answer.headers["modelyard-model-version"]


def servers(engine: Engine) -> list[dict[str, Any]]:
    client = engine.client()
    found = client.containers(all=True, filters={"label": [f"modelyard.io/model={MODEL}", "modelyard.io/role=server"]})
    return [client.inspect_container(one["Id"]) for one in found]


def test_versions_change_under_load_without_a_failed_request(
    engine: Engine, target: DockerTarget, model_images: ModelImages
):
    said: list[str] = []
    address = target.deploy(model_images.spec("production", 1), said.append)
    assert ask(address) == (2, "1")
    with Load(urlsplit(address).port or 0, {"rows": [{"x": 2}]}, lambda version: 2 * version) as load:
        load.wait_for(100)
        assert target.deploy(model_images.spec("production", 2), said.append) == address
        gone_over = len(load.answers)
        load.wait_for(100)
    assert load.failures == []
    assert {version for _, version in load.answers[gone_over + 16 :]} == {2}

    live = target.current(MODEL, "production")
    assert live is not None
    assert (live.version, live.generation, live.running) == (2, 2, True)
    (server,) = servers(engine)
    assert (
        server["Config"]["Labels"].items()
        >= {
            "modelyard.io/version": "2",
            "modelyard.io/generation": "2",
            "modelyard.io/run-id": "102",
            "modelyard.io/image-digest": live.image_digest,
        }.items()
    )
    confined = server["HostConfig"]
    assert (confined["ReadonlyRootfs"], confined["CapDrop"], confined["Privileged"]) == (True, ["ALL"], False)
    assert server["Config"]["User"] == "65532:65532"
    assert confined["RestartPolicy"]["Name"] == "unless-stopped"
    assert not confined["Binds"]

    # The newest wins; an older one leaves everything as it is. The same again is done once.
    with pytest.raises(Superseded, match="generation 2 has taken over, this is 1"):
        target.deploy(model_images.spec("production", 1), said.append)
    target.deploy(model_images.spec("production", 2), said.append)
    assert [one["Id"] for one in servers(engine)] == [server["Id"]]

    # One that does not come up leaves what serves.
    broken = model_images.spec("production", 3, as_it_loads='raise RuntimeError("no license")')
    with pytest.raises(DeploymentFailed, match=r"version 2 still serves: its server ended(?s:.*)no license") as failed:
        target.deploy(broken, said.append)
    assert "times:3 did not go live" in failed.value.message
    other = model_images.spec("production", 4, smoke={"inputs": [{"x": 2}], "outputs": {"prediction": [7]}})
    with pytest.raises(DeploymentFailed, match="version 2 still serves: smoke test: row 0, prediction: 8, at training"):
        target.deploy(other, said.append)
    assert ask(address) == (4, "2")
    assert [one["Id"] for one in servers(engine)] == [server["Id"]]

    # A roll-back is the newest deployment there is.
    target.deploy(model_images.spec("production", 1, generation=5), said.append)
    assert ask(address) == (2, "1")

    # What ends is started again; the front, too, at its port.
    client = engine.client()
    front = client.containers(filters={"label": [f"modelyard.io/model={MODEL}", "modelyard.io/role=front"]})[0]
    for one in (servers(engine)[0]["Id"], front["Id"]):
        os.kill(client.inspect_container(one)["State"]["Pid"], signal.SIGKILL)
    assert ask_again(address) == (2, "1")

    target.remove(MODEL, "production")
    assert target.current(MODEL, "production") is None
    assert client.containers(all=True, filters={"label": f"modelyard.io/model={MODEL}"}) == []
    assert client.volumes(filters={"label": f"modelyard.io/model={MODEL}"})["Volumes"] in (None, [])
    target.remove(MODEL, "production")


def ask_again(address: str) -> tuple[Any, str]:
    for _ in range(100):
        try:
            return ask(address)
        except OSError:
            threading.Event().wait(0.1)
    return ask(address)


def test_a_newer_deployment_that_comes_meanwhile_wins(target: DockerTarget, model_images: ModelImages):
    newer = threading.Thread(target=target.deploy, args=(model_images.spec("staging", 2), print))

    def say(line: str) -> None:
        if "is ready" in line and newer.ident is None:
            newer.start()
            newer.join()

    with pytest.raises(Superseded):
        target.deploy(model_images.spec("staging", 1), say)
    live = target.current(MODEL, "staging")
    assert live is not None
    assert ask(live.address) == (4, "2")
