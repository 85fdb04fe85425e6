"""A service's containers on their engine: made once, asked, and removed; nothing here knows of an order."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from docker.errors import APIError, NotFound

from modelyard.deployment.docker import containers, front
from modelyard.deployment.docker.containers import Place
from modelyard.errors import DeploymentFailed, Unavailable
from modelyard.pod_security import USER

if TYPE_CHECKING:
    from docker import APIClient

JSON = dict[str, Any]

_CONFLICT = 409
_FIRST, _LAST = 18_000, 18_999  # ports of services, as of those that are processes of a machine
_TAKEN = ("port is already allocated", "address already in use")
_DRAIN_SECONDS = 90  # a server that is told to end takes connections for 3 s more, and gives a slow client 60


class ServiceContainers:
    """The containers of one service."""

    def __init__(self, client: APIClient, place: Place) -> None:
        self._client = client
        self.place = place

    def find(self, name: str) -> JSON | None:
        """Return a container of the service as the engine shows it.

        Raises:
            DeploymentFailed: one of this name is somebody else's.
        """
        try:
            found: JSON = self._client.inspect_container(name)
        except NotFound:
            return None
        labels = found["Config"]["Labels"] or {}
        if {key: labels.get(key) for key in self.place.labels} != self.place.labels:
            raise DeploymentFailed(
                f"There is another container '{name}' already, which is not Modelyard's",
                "give it another name: docker rename",
            )
        return found

    def have_front(self, image: str) -> int:
        """Have the front and what it needs, and return its port: the one that it had, or any that is free.

        Raises:
            DeploymentFailed: no port is free.
        """
        name = self.place.name
        if not self._networks():
            try:
                self._client.create_network(name, check_duplicate=True, internal=True, labels=self.place.labels)
            except APIError as error:
                if error.status_code != _CONFLICT or not self._networks():  # else another deployment was quicker
                    raise
        self._client.create_volume(name, labels=self.place.labels)  # the same again is no error
        found = self.find(name)
        if found is None:
            return self._made_front(image)
        self._connect_and_start(name)
        return int(found["Config"]["Labels"][containers.PORT])

    def _made_front(self, image: str) -> int:
        name = self.place.name
        for port in self._free_ports():
            try:
                self._client.create_container_from_config(containers.front_container(self.place, image, port), name)
            except APIError as error:
                if error.status_code != _CONFLICT:
                    raise
                return self.have_front(image)  # another deployment was quicker
            try:
                self._connect_and_start(name)
            except APIError as error:
                self.remove(name)
                if not any(words in str(error.explanation) for words in _TAKEN):
                    raise
                continue
            return port
        raise DeploymentFailed(
            f"No port from {_FIRST} to {_LAST} is free on the engine's host for {self.place.model}",
            "free one: docker ps shows who has which",
        )

    def _free_ports(self) -> list[int]:
        fronts = self._client.containers(all=True, filters={"label": [containers.PORT]})
        reserved = {int(one["Labels"][containers.PORT]) for one in fronts}  # also of services that do not run now
        return [port for port in range(_FIRST, _LAST + 1) if port not in reserved]

    def _connect_and_start(self, name: str) -> None:
        if not self._is_connected(name):
            try:
                self._client.connect_container_to_network(name, self.place.name)
            except APIError:
                if not self._is_connected(name):  # else another deployment was quicker
                    raise
        self._client.start(name)  # no error when it runs

    def _is_connected(self, name: str) -> bool:
        return self.place.name in self._client.inspect_container(name)["NetworkSettings"]["Networks"]

    def start_server(self, name: str, manifest: JSON) -> None:
        """Make a server's container and start it."""
        self._client.create_container_from_config(manifest, name)
        self._client.start(name)

    def tell(self, command: str, *arguments: str) -> JSON:
        """Give the front a command and return what it says.

        Raises:
            Unavailable: it does not run.
        """
        try:
            made = self._client.exec_create(self.place.name, containers.command(command, *arguments))
        except APIError as error:
            if error.status_code != _CONFLICT:
                raise
            raise Unavailable(
                f"The front of {self.place.name} does not run", f"see why: docker logs {self.place.name}"
            ) from error
        output, errors = self._client.exec_start(made["Id"], demux=True)
        if self._client.exec_inspect(made["Id"])["ExitCode"] != 0:
            said = (errors or output or b"").decode(errors="replace").strip()
            raise Unavailable(f"The front of {self.place.name} does not answer: {said[-500:]}", "try again")
        return dict(json.loads(output))

    def put_question(self, generation: int, question: Mapping[str, Any]) -> None:
        """Lay down what the server of a generation is asked: an older deployment's stays its own."""
        data = json.dumps(question).encode()
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            info = tarfile.TarInfo(front.question(str(generation)).name)
            info.size, info.uid, info.gid, info.mode = len(data), USER, USER, 0o600
            tar.addfile(info, io.BytesIO(data))
        self._client.put_archive(self.place.name, str(front.FOLDER), stream.getvalue())

    def state(self) -> JSON | None:
        """Return the front's state, whether it runs or not; None when nothing was ever deployed."""
        try:
            chunks, _ = self._client.get_archive(self.place.name, str(front.STATE))
        except NotFound:
            return None
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
            file = tar.extractfile(front.STATE.name)
            return None if file is None else dict(json.load(file))

    def last_lines(self, name: str, number: int) -> str:
        """Return the end of a container's log."""
        log: bytes = self._client.logs(name, tail=number)
        return log.decode(errors="replace").strip()

    def _networks(self) -> list[str]:
        found = self._client.networks(names=[f"^{re.escape(self.place.name)}$"])
        return [one["Id"] for one in found]

    def servers(self) -> dict[str, int]:
        """Return the service's servers, running or not: generation by name."""
        wanted = [f"{key}={value}" for key, value in self.place.labels.items()]
        wanted.append(f"{containers.ROLE}={containers.IS_SERVER}")
        found = self._client.containers(all=True, filters={"label": wanted})
        return {one["Names"][0].lstrip("/"): int(one["Labels"][containers.GENERATION]) for one in found}

    def end(self, name: str) -> None:
        """Have a server answer what it has, then remove it."""
        with suppress(NotFound):
            self._client.stop(name, timeout=_DRAIN_SECONDS)
        self.remove(name)

    def remove(self, name: str) -> None:
        """Remove a container at once."""
        with suppress(NotFound):
            self._client.remove_container(name, force=True)

    def remove_all(self) -> None:
        """Remove the service: its containers, their network and the state."""
        name = self.place.name
        for container in (*self.servers(), *([name] if self.find(name) else [])):
            self.end(container)
        for network in self._networks():
            self._client.remove_network(network)
        with suppress(NotFound):
            self._client.remove_volume(name)
