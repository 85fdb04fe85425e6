"""Execution mode `docker`: a step as a container that outlives whoever waits for it.

The container's name says which try waits for it. Docker changes a name in one step, and knows a container by its name:
so a try that takes one up makes it its own, and the one before, if it lives after all, finds nothing to remove.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelyard.docker_engine import Login, in_words, pull
from modelyard.errors import Unavailable
from modelyard.execution.command import Command, ProjectImage
from modelyard.execution.container import (
    CLEAR,
    GROUP,
    IS_PROJECT,
    IS_STEP,
    ROLE,
    RUN,
    STEP,
    TRY,
    container_beside,
    labels,
    project_container,
    step_container,
)

if TYPE_CHECKING:
    from docker import APIClient

JSON = dict[str, Any]
Emit = Callable[[str], None]

_STOP_SECONDS = 10
_SHOWN = 20  # last lines of an image beside a step that has failed


@dataclass(frozen=True)
class Setting:
    """What a step's container is made with, beside its command.

    Attributes:
        runner_image: the image of the steps; those that run the project's code have one that lies on it.
        network: of the engine, by which steps reach the store.
        deadline_seconds: after these what is in the containers ends, whether anybody still waits for it or not.
        images_beside: the full name of each image in ``command.beside``, by its name there.
        login: of the store's registry, if it asks for one.
        credentials: the line that the step reads.
        told: labels for people.
    """

    runner_image: str
    network: str
    deadline_seconds: int
    images_beside: Mapping[str, str]
    login: Login | None
    credentials: str
    told: Mapping[str, str]


@dataclass(frozen=True)
class Exit:
    """How a container ended.

    Attributes:
        code: of its process.
        try_number: of the command, which may be an earlier one than this try's: a container outlives its worker.
        out_of_memory: it, or the project's code beside it, took more than it may.
    """

    code: int
    try_number: int
    out_of_memory: bool


class DockerStep:
    """One try of a step on a Docker engine.

    ``kill()`` may be called from another thread or a signal handler.

    Args:
        client: of the engine.
        command: what to run.
        try_id: of this try alone.
        setting: what with.
        emit: called with each line of the step.
    """

    def __init__(self, client: APIClient, command: Command, try_id: str, setting: Setting, emit: Emit) -> None:
        self._client = client
        self._command = command
        self._setting = setting
        self._emit = emit
        self._group = f"modelyard-{command.step}-{command.pipeline_run[:12]}-{try_id[-12:]}"
        self._name = self._group  # a container that was taken up is of an older group
        self._killed = False

    def run(self) -> Exit:
        """Run the step to its end; a container of it that still runs is taken up.

        It is removed when it has ended well, and kept when it has not.

        Raises:
            ImageError, RequestError: the engine refuses image or container; Unavailable: it or the container is gone.
        """
        from docker.errors import NotFound

        with in_words():
            container = self._taken_up() or self._begun()
            try:
                self._follow(container)
                ended = self._ended(container)
            except NotFound as error:
                raise Unavailable(
                    f"Container {self._name} was removed while it ran", "the next try starts another one"
                ) from error
            if ended.code != 0:
                self._show_beside()
                self._emit(f"Container {self._name} is kept: docker logs {self._name}")
            else:
                self._remove(self._name)
            self._remove_beside(self._group)
        return ended

    def kill(self) -> None:
        """End the container and remove it with what is beside it, unless another try has taken it up."""
        from docker.errors import NotFound

        self._killed = True
        with in_words():
            try:
                self._client.stop(self._name, timeout=_STOP_SECONDS)
            except NotFound:
                return
            self._remove(self._name)
            self._remove_beside(self._group)

    def _taken_up(self) -> str | None:
        """Return the id of a container of this step that runs, now this try's; remove what others have left."""
        found = self._containers({RUN: self._command.pipeline_run, STEP: self._command.step})
        steps = [one for one in found if one["Labels"][ROLE] == IS_STEP]
        clear = str(self._command.clear_number)  # what ran before a person has cleared the step is not waited for
        running = next((one for one in steps if one["State"] == "running" and one["Labels"][CLEAR] == clear), None)
        if running is not None:
            self._emit(f"Taking up container {running['Names'][0].lstrip('/')}, which still runs; all its lines:")
            self._client.rename(running["Id"], self._name)
            self._group = running["Labels"][GROUP]
        for one in steps:
            failed = one["State"] == "exited" and "(0)" not in one["Status"]
            if one is not running and not failed:
                self._remove(one["Id"])
        for group in {one["Labels"][GROUP] for one in found} - {self._group}:
            self._remove_beside(group)
        return None if running is None else str(running["Id"])

    def _begun(self) -> str:
        from docker.errors import NotFound

        command, setting, client = self._command, self._setting, self._client
        image = command.image or setting.runner_image
        project = [] if command.project is None else [command.project.reference]
        for name in (image, *project, *setting.images_beside.values()):
            pull(client, name, setting.login, self._emit)
        manifest = step_container(
            command,
            self._group,
            runner_image=setting.runner_image,
            network=setting.network,
            deadline_seconds=setting.deadline_seconds,
            told=setting.told,
        )
        try:
            if command.beside:
                self._start_beside()
            container: str = client.create_container_from_config(manifest, self._name)["Id"]
            if command.beside:
                client.connect_container_to_network(container, self._group)
            if command.project is not None:
                self._start_project(command.project, container)
            if self._killed:
                raise Unavailable(f"Step '{command.step}' was stopped before it began", "clear its task to run it")
            self._start(container)
        except BaseException:
            with suppress(NotFound):
                client.remove_container(self._name, force=True, v=True)
            self._remove_beside(self._group)
            raise
        return container

    def _start_beside(self) -> None:
        client, group = self._client, self._group
        client.create_network(group, internal=True, labels=labels(self._command, group, "network"))
        for name, beside in self._command.beside.items():
            manifest = container_beside(
                self._command,
                group,
                name,
                beside,
                self._setting.images_beside[name],
                deadline_seconds=self._setting.deadline_seconds,
            )
            client.start(client.create_container_from_config(manifest, f"{group}-{name}")["Id"])

    def _start_project(self, image: ProjectImage, step: str) -> None:
        setting = self._setting
        manifest = project_container(
            self._command,
            self._group,
            image,
            step=step,
            network=setting.network,
            deadline_seconds=setting.deadline_seconds,
        )
        self._client.start(self._client.create_container_from_config(manifest, f"{self._group}-{IS_PROJECT}")["Id"])

    def _start(self, container: str) -> None:
        """Start the step, and hand it its credentials; its input ends when they have been read, or nobody is there."""
        attached = self._client.attach_socket(container, {"stdin": 1, "stream": 1})
        connection = getattr(attached, "_sock", attached)  # of a local engine it is a file over the socket
        try:
            self._client.start(container)
            connection.sendall(self._setting.credentials.encode())
        finally:
            attached.close()
            connection.close()

    def _follow(self, container: str) -> None:
        for line in _lines(self._client.logs(container, stream=True, follow=True)):
            self._emit(line)

    def _ended(self, container: str) -> Exit:
        code = int(self._client.wait(container)["StatusCode"])
        found = self._client.inspect_container(container)
        both = [found]
        for project in self._containers({GROUP: self._group, ROLE: IS_PROJECT}):
            # Only of a container that has ended the engine tells that something in it took too much memory.
            self._client.stop(project["Id"], timeout=_STOP_SECONDS)
            both.append(self._client.inspect_container(project["Id"]))
        out_of_memory = any(one["State"]["OOMKilled"] for one in both)
        return Exit(code, int(found["Config"]["Labels"][TRY]), out_of_memory)

    def _show_beside(self) -> None:
        for one in self._containers({GROUP: self._group}):
            if one["Labels"][ROLE] != IS_STEP:
                name = one["Names"][0].removeprefix(f"/{self._group}-")
                # It goes on: its last lines, and not those that are still to come.
                for line in _lines(self._client.logs(one["Id"], stream=True, follow=False, tail=_SHOWN)):
                    self._emit(f"[{name}] {line}")

    def _remove_beside(self, group: str) -> None:
        from docker.errors import NotFound

        for one in self._containers({GROUP: group}):
            if one["Labels"][ROLE] != IS_STEP:
                self._remove(one["Id"])
        for network in self._client.networks(filters={"label": [f"{GROUP}={group}"]}):
            with suppress(NotFound):
                for container in self._client.inspect_network(network["Id"])["Containers"] or ():
                    self._client.disconnect_container_from_network(container, network["Id"], force=True)
                self._client.remove_network(network["Id"])

    def _remove(self, container: str) -> None:
        from docker.errors import NotFound

        with suppress(NotFound):
            self._client.remove_container(container, force=True, v=True)

    def _containers(self, labelled: Mapping[str, str]) -> list[JSON]:
        wanted = [f"{name}={value}" for name, value in labelled.items()]
        found: list[JSON] = self._client.containers(all=True, filters={"label": wanted})
        return found


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace").rstrip("\r") for line in whole)
    if rest:
        yield rest.decode(errors="replace")
