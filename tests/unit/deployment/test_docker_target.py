"""A deployment to a Docker engine that fails at any call: the front's own state, and an engine that is a dictionary."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError

from modelyard.deployment.docker import containers, front, target
from modelyard.deployment.docker.containers import Place
from modelyard.deployment.docker.engine import ServiceContainers
from modelyard.deployment.docker.target import DockerTarget
from modelyard.deployment.target import ServiceSpec
from modelyard.errors import Superseded, Unavailable

PLACE = Place("wine", "production")


class Service:
    """Stands for ``ServiceContainers``; the ``fails_at``-th call from the moment it is set is answered by an error."""

    place = PLACE

    def __init__(self) -> None:
        self.running: set[str] = set()
        self.asked: dict[str, Any] = {}
        self.fails_at: int | None = None
        self.fails_once = True
        self.after: dict[str, Any] = {}  # by command: what happens once it was done

    def _called(self) -> None:
        if self.fails_at is not None:
            self.fails_at -= 1
            if self.fails_at == 0 or (self.fails_at < 0 and not self.fails_once):
                raise Unavailable("The engine is away", "try again")

    def have_front(self, image: str) -> int:
        return 18_000

    def find(self, name: str) -> dict[str, Any] | None:
        self._called()
        running = {"State": {"Running": True, "OOMKilled": False}, "RestartCount": 0}
        return running if name in self.running else None

    def remove(self, name: str) -> None:
        self._called()
        self.running.discard(name)

    end = remove

    def start_server(self, name: str, manifest: Mapping[str, Any]) -> None:
        self._called()
        self.running.add(name)

    def put_question(self, generation: int, question: Mapping[str, Any]) -> None:
        self._called()
        front.question(str(generation)).write_text(json.dumps(question))

    def servers(self) -> dict[str, int]:
        self._called()
        return {name: int(name.rpartition(".g")[2]) for name in self.running}

    def tell(self, command: str, *arguments: str) -> dict[str, Any]:
        self._called()
        if command == "ask":
            told = front.ask(*arguments)
            if "newer" not in told:
                told = {"status": 200, "headers": {}, "body": base64.b64encode(b"").decode()}
        else:
            told = front.change(command, *arguments)
        if then := self.after.pop(command, None):
            then()
        return told


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    made = Service()
    monkeypatch.setattr(front, "FOLDER", tmp_path)
    monkeypatch.setattr(front, "STATE", tmp_path / "state.json")
    monkeypatch.setattr(front, "_ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(target, "ServiceContainers", lambda *_: made)
    monkeypatch.setattr(target, "pull", lambda *_: None)
    monkeypatch.setattr(target, "check_answer", lambda *_: None)
    return made


def spec(generation: int) -> ServiceSpec:
    smoke = {"inputs": [{"x": generation}], "outputs": {"prediction": [generation]}}
    return ServiceSpec("wine", "production", generation, 1, "sha256:x", generation, smoke=smoke, ready_timeout=1)


def deploy(generation: int) -> list[str]:
    said: list[str] = []
    DockerTarget(None, lambda *_: "image", None).deploy(spec(generation), said.append)
    return said


def test_whatever_call_fails_what_serves_is_proven(service: Service) -> None:
    deploy(1)
    first, second = PLACE.host(1), PLACE.host(2)
    for number in range(2, 100):  # the first call takes the service in hand, and is tried again
        service.fails_at = number
        try:
            deploy(2)
        except Unavailable:
            state = front.read()
            live = state["live"]["host"]
            assert state["serving"] == live, f"at call {number}"
            assert live in service.running
            assert (live == second) or second not in service.running
            continue
        assert number > 8, "it has failed at each call"
        break
    assert front.read()["live"]["host"] == front.read()["serving"] == second
    assert service.running == {second}
    assert first not in service.running


def test_what_could_not_be_taken_back_at_once_is_by_the_next_try(service: Service) -> None:
    deploy(1)
    service.after["serve"] = lambda: setattr(service, "fails_at", 1)
    service.fails_once = False
    with pytest.raises(Unavailable, match="The engine is away"):
        deploy(2)
    assert front.read()["serving"] == PLACE.host(2), "engine and front are away, and stay so"
    service.fails_at = None
    deploy(2)
    assert front.read()["live"]["host"] == PLACE.host(2)


def test_an_older_deployment_at_the_same_time_asks_its_own_question(service: Service) -> None:
    """It lays down its question when the newer one has laid down its own."""
    deploy(1)
    front.change("take", "3")
    service.put_question(3, {"asks": "newer"})
    service.put_question(2, {"asks": "older"})
    assert json.loads(front.question("3").read_text()) == {"asks": "newer"}
    assert front.ask("2", "nowhere") == {"newer": 3}
    with pytest.raises(Superseded):
        deploy(2)
    front.question("3").unlink()

    deploy(3)
    assert [path.name for path in front.FOLDER.glob("question*")] == ["question-3.json"]


class Client:
    """An engine on which another deployment makes network and connection right before this one."""

    def __init__(self, others: bool) -> None:
        self.others = others
        self.networks_made: list[str] = []
        self.connected: dict[str, Any] = {}

    def networks(self, names: list[str]) -> list[dict[str, str]]:
        return [{"Id": name} for name in self.networks_made]

    def create_network(self, name: str, **_: object) -> None:
        if self.others:
            self.networks_made.append(name)
        raise APIError("conflict", SimpleNamespace(status_code=409, reason="", url=""), "it exists")

    def create_volume(self, *_: object, **__: object) -> None:
        pass

    def inspect_container(self, name: str) -> dict[str, Any]:
        labels = {**PLACE.labels, containers.PORT: "18001"}
        return {"Config": {"Labels": labels}, "NetworkSettings": {"Networks": dict(self.connected)}}

    def connect_container_to_network(self, name: str, network: str) -> None:
        self.connected[network] = {}
        raise APIError("forbidden", SimpleNamespace(status_code=403, reason="", url=""), "it is connected")

    def start(self, name: str) -> None:
        pass


def test_of_two_first_deployments_at_once_none_is_refused_for_what_the_other_has_made() -> None:
    assert ServiceContainers(Client(others=True), PLACE).have_front("image") == 18_001
    with pytest.raises(APIError):
        ServiceContainers(Client(others=False), PLACE).have_front("image")
