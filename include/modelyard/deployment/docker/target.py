"""Services on a Docker engine: a server's container a release, behind a front that holds the port.

The order of a deployment: have the front, and take the service in hand, unless a newer generation has it; start the
new server beside the one that serves; let it answer the golden rows; have new connections go to it, and let it answer
through the service; write it down as live; let the old one answer what it has, and remove it. The front refuses every
command of an older generation than it has in hand, so of two deployments at once the newer one wins. A failure before
"written down" leaves what was live; a retry after a kill, or when engine and front were away for that too, ends the
same way. Docker brings back front and server after
a crash, and after a restart of the host.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from modelyard.deployment.docker import containers
from modelyard.deployment.docker.containers import Place
from modelyard.deployment.docker.engine import ServiceContainers
from modelyard.deployment.smoke import CONTENT, HEADERS, SmokeError, check_answer, question
from modelyard.deployment.target import JSON, Live, ServiceSpec
from modelyard.docker_engine import Login, in_words, pull
from modelyard.errors import DeploymentFailed, ModelyardError, Superseded, Unavailable

if TYPE_CHECKING:
    from docker import APIClient

_POLL_SECONDS = 0.3
_SHOWN = 20  # last lines of a server that has failed
_THROUGH_THE_SERVICE = "127.0.0.1"


class _NotUpError(Exception):
    """The new version does not serve; why."""


class DockerTarget:
    """The target of ``target: docker``.

    Args:
        client: of the engine.
        reference: (model, image digest) → the image's name, as the engine pulls it.
        login: of the images' registry, if it asks for one.
    """

    def __init__(self, client: APIClient, reference: Callable[[str, str], str], login: Login | None) -> None:
        self._client = client
        self._reference = reference
        self._login = login

    def deploy(self, spec: ServiceSpec, log: Callable[[str], None]) -> str:
        """See ``Target.deploy``. May be killed at any moment: the old version serves, and a second try goes on.

        When it is told to end, it first takes back what it has begun.
        """
        if spec.log is not None:
            raise DeploymentFailed(
                f"A service on a Docker engine reaches nobody, and {spec.model} is to send its prediction log away",
                "take `serving.prediction_log` out of model.yaml, or deploy to a cluster or as a process",
            )
        service = ServiceContainers(self._client, Place(spec.model, spec.environment))
        image = self._reference(spec.model, spec.image_digest)
        pull(self._client, image, self._login, log)
        with in_words():
            port = service.have_front(image)
            live = self._taken(service, spec)["live"]
            try:
                self._roll_out(service, spec, image, live, log)
            except _NotUpError as error:
                log(f"Version {spec.version} does not come up: {error}")
                serving = self._go_back(service, spec)
                raise DeploymentFailed(
                    f"{spec.model}:{spec.version} did not go live in '{spec.environment}'; {serving}: {error}",
                    "correct what it says and start a new run; where the host had no room for it, clear `deploy`",
                ) from error
            except Superseded:
                if not _is_live(live, service, spec):  # what the newer one does not replace goes on
                    service.end(service.place.host(spec.generation))
                raise
            except (SystemExit, KeyboardInterrupt):
                log(f"Told to end: version {spec.version} is taken back")
                self._go_back(service, spec)
                raise
            except Exception:
                self._try_to_go_back(service, spec, log)
                raise
        return _address(port)

    def current(self, model: str, environment: str) -> Live | None:
        """See ``Target.current``."""
        service = ServiceContainers(self._client, Place(model, environment))
        with in_words():
            found = service.find(service.place.name)
            state = None if found is None else service.state()
            if found is None or state is None or state["live"] is None:
                return None
            live = state["live"]
            server = service.find(live["host"])
            return Live(
                model=model,
                environment=environment,
                version=live["version"],
                run_id=live["run_id"],
                image_digest=live["image_digest"],
                generation=live["generation"],
                address=_address(int(found["Config"]["Labels"][containers.PORT])),
                running=found["State"]["Running"] and server is not None and server["State"]["Running"],
            )

    def remove(self, model: str, environment: str) -> None:
        """See ``Target.remove``."""
        with in_words():
            ServiceContainers(self._client, Place(model, environment)).remove_all()

    def _taken(self, service: ServiceContainers, spec: ServiceSpec) -> JSON:
        """Take the service in hand and return its state; a front that has just been started is waited for."""
        deadline = time.monotonic() + spec.ready_timeout
        while True:
            try:
                return self._tell(service, spec, "take")
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_SECONDS)

    def _tell(self, service: ServiceContainers, spec: ServiceSpec, command: str, *arguments: str) -> JSON:
        told = service.tell(command, str(spec.generation), *arguments)
        if "newer" in told:
            raise Superseded(
                f"{spec.model}:{spec.version} is not deployed to '{spec.environment}': generation {told['newer']} "
                f"has taken over, this is {spec.generation}"
            )
        return told

    def _roll_out(
        self, service: ServiceContainers, spec: ServiceSpec, image: str, live: JSON | None, log: Callable[[str], None]
    ) -> None:
        host = service.place.host(spec.generation)
        found, restarts = service.find(host), 0
        if found is not None and found["State"]["Running"]:
            restarts = found["RestartCount"]
        else:
            service.remove(host)  # of an earlier try that was ended
            log(f"Starting version {spec.version} as container {host}")
            service.start_server(host, containers.server_container(service.place, spec, image))
        method, path, body = question(spec.smoke)
        headers = HEADERS if body is None else CONTENT | HEADERS
        service.put_question(spec.generation, {"method": method, "path": path, "body": body, "headers": headers})
        self._wait_until_ready(service, spec, host, restarts)
        log(f"Version {spec.version} is ready; it takes over")
        self._tell(service, spec, "serve", host)
        _check(self._tell(service, spec, "ask", _THROUGH_THE_SERVICE), spec)
        self._tell(service, spec, "live", containers.release(service.place, spec))
        if live is not None and live["host"] != host:
            log(f"Version {live['version']} answers what it has, then ends")
        for name, generation in service.servers().items():
            if generation < spec.generation:
                service.end(name)

    def _wait_until_ready(self, service: ServiceContainers, spec: ServiceSpec, host: str, restarts: int) -> None:
        deadline = time.monotonic() + spec.ready_timeout
        while True:
            found = service.find(host)
            if found is None:
                self._tell(service, spec, "take")  # whoever has removed it is newer, or a person was it
                raise _NotUpError("its container was removed")
            if found["State"]["OOMKilled"]:
                raise _NotUpError("it takes more memory than `serving.resources` of model.yaml gives it")
            if not found["State"]["Running"] or found["RestartCount"] > restarts:
                raise _NotUpError(f"its server ended; its last lines:\n{service.last_lines(host, _SHOWN)}")
            answer = self._tell(service, spec, "ask", host)
            if answer.get("status", 503) != 503:
                break
            if time.monotonic() > deadline:
                lines = service.last_lines(host, _SHOWN)
                raise _NotUpError(f"it was not ready in {spec.ready_timeout:g} s; its last lines:\n{lines}")
            time.sleep(_POLL_SECONDS)
        _check(answer, spec)

    def _go_back(self, service: ServiceContainers, spec: ServiceSpec) -> str:
        """Have what is live serve alone, and return what that is: this version, if it was written down as proven."""
        live = self._tell(service, spec, "take")["live"]
        if _is_live(live, service, spec):
            return f"version {spec.version} is live, and is left as it is"
        service.end(service.place.host(spec.generation))
        return "nothing served before" if live is None else f"version {live['version']} still serves"

    def _try_to_go_back(self, service: ServiceContainers, spec: ServiceSpec, log: Callable[[str], None]) -> None:
        """Go back after an error that is raised anyway: of engine or front, which may be away for this too."""
        try:
            with in_words():
                serving = self._go_back(service, spec)
        except ModelyardError as error:
            log(f"Version {spec.version} could not be taken back, which the next try does first: {error.message}")
        else:
            log(f"Version {spec.version} is given up: {serving}")


def _is_live(live: JSON | None, service: ServiceContainers, spec: ServiceSpec) -> bool:
    return live is not None and bool(live["host"] == service.place.host(spec.generation))


def _check(answer: JSON, spec: ServiceSpec) -> None:
    try:
        if "away" in answer:
            raise SmokeError(f"no answer: {answer['away']}")
        headers = {name.title(): value for name, value in answer["headers"].items()}
        body = base64.b64decode(answer["body"])
        check_answer(answer["status"], headers, body, spec.version, spec.image_digest, spec.smoke)
    except SmokeError as error:
        raise _NotUpError(f"smoke test: {error}") from error


def _address(port: int) -> str:
    return f"http://127.0.0.1:{port}"
