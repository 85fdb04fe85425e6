"""Airflow on this machine, every step a container of a real Docker engine, and the service one of it, too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from tests.fixtures_docker import Engine
from tests.fixtures_machine import REPOSITORY, fail, succeed, wait_until
from tests.forwarding import forwarded
from tests.git_server import serving_git
from tests.load import Load
from tests.pipeline.tiny import make_tiny
from tests.searching import Place, Search, Seen, made_up
from tests.yard import ask, commit

from modelyard.demo.machine import Machine
from modelyard.demo.rest import AirflowApi
from modelyard.demo.show import failures
from modelyard.deployment.docker import DockerTarget
from modelyard.project.write_lock import write_git_entry, write_lock
from modelyard.sources import Credentials
from modelyard.store import Store, StoreAddress

_LOGGED = ("prepare", "train", "validate")
LOGIN = Credentials("robot", made_up("git"))
CONNECTION = "projects_git"
_DOCKERFILE = """\
COPY requirements.txt /build/
RUN python3 -m venv /opt/venv && /opt/venv/bin/pip install -q --no-cache-dir -r /build/requirements.txt
ENV PATH=/opt/venv/bin:$PATH GREETING="from the Dockerfile"
RUN env; cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n'; ls /run /var/run /tmp
"""
_GREETS = """
    import os, sys
    time.sleep(pause)
    print("prefix", sys.prefix, os.environ["GREETING"])
    print("variables", sorted(os.environ), os.listdir("/tmp"))
"""


@dataclass
class Yard:
    """An Airflow on this machine whose steps are containers, and what only they use.

    Attributes:
        store: the model store, at addresses that containers reach.
    """

    machine: Machine
    engine: Engine
    store: StoreAddress

    @property
    def credentials(self) -> dict[str, str]:
        """Every credential that a run uses, by what it opens."""
        return {
            "database": unquote(str(urlsplit(self.store.mongo_uri).password)),
            "artifacts": str(self.store.s3_secret_key),
            "registry": str(self.store.registry_password),
            "repository": LOGIN.token,
        }

    def steps(self, step: str | None = None) -> list[dict[str, Any]]:
        """Return the containers of steps that are there, those beside them among them, as ``docker inspect`` does."""
        client = self.engine.client()
        label = "modelyard.io/step" if step is None else f"modelyard.io/step={step}"
        return [client.inspect_container(one["Id"]) for one in client.containers(all=True, filters={"label": label})]

    def inspected(self) -> Iterator[Place]:
        """Yield each container of a step, and its log so far, under the step's name."""
        from docker.errors import APIError

        client = self.engine.client()
        for one in client.containers(all=True, filters={"label": "modelyard.io/step"}):
            name = one["Labels"]["modelyard.io/step"]
            with suppress(APIError):  # it is gone by now
                yield name, json.dumps(client.inspect_container(one["Id"])).encode()
                yield name, client.logs(one["Id"])


@pytest.fixture(scope="module")
def yard(
    engine: Engine, runner_image: str, mongo_uri: str, s3_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Yard]:
    folder, name = tmp_path_factory.mktemp("yard"), f"test-{uuid.uuid4().hex[:12]}"
    base = f"{engine.registry}/library/python:3.11-slim"
    with ExitStack() as stack:

        def reachable(url: str) -> str:
            parts = urlsplit(url)
            there = stack.enter_context(forwarded(engine.host, (str(parts.hostname), int(parts.port or 0))))
            return url.replace(f"{parts.hostname}:{parts.port}", there)

        s3 = replace(s3_server, bucket=name)
        s3.client().create_bucket(Bucket=name)
        store = replace(s3, endpoint_url=reachable(s3.endpoint_url)).address(
            "artifacts",
            mongo_uri=f"{reachable(mongo_uri)}&directConnection=true",  # it names itself by its loopback address
            database=name,
            registry=f"{engine.registry}/{name}",
            registry_insecure=True,
            registry_username="robot",  # this registry asks nobody, and is told all the same
            registry_password=made_up("registry"),
            base_image=base,
            layer_compression="gzip",
            installation=name,
        )
        repositories = folder / "repositories"
        repositories.mkdir()
        git = reachable(stack.enter_context(serving_git(repositories, LOGIN)))
        made = [_tiny(repositories, folder / "tiny-home"), _greeting(repositories, folder / "tiny-home", base)]
        projects = folder / "projects"
        projects.mkdir()
        for project in made:
            source = {"git": f"{git}/{project.name}/.git", "ref": None, "subfolder": ""}
            write_git_entry(projects, source, CONNECTION, LOGIN)
        settings = {
            "dag_processor": {"min_file_process_interval": "2"},
            # A worker that is gone is found sooner than anybody in production would want it.
            "scheduler": {
                "task_instance_heartbeat_timeout": "20",
                "task_instance_heartbeat_timeout_detection_interval": "2",
            },
            "modelyard": {"execution": "docker", "runner_image": runner_image},
        }
        environment = os.environ | {"DOCKER_HOST": engine.url}
        machine = Machine(folder / "home", REPOSITORY, [projects], environment, store=store, settings=settings)
        stack.callback(machine.stop, print)
        machine.start(print)
        with machine.api() as api:
            api.put_connection(CONNECTION, {"conn_type": "git", "login": LOGIN.username, "password": LOGIN.token})
        for project in made:
            stack.callback(DockerTarget(engine.client(), lambda *_: "", None).remove, project.name, "production")
        yield Yard(machine, engine, store)


def _tiny(repositories: Path, home: Path) -> Path:
    """Put the smallest project at the Git server, to be deployed to the engine."""
    folder = make_tiny(repositories / "tiny", home)
    with (folder / "model.yaml").open("a") as model_yaml:
        yaml.safe_dump({"deployment": {"environments": {"production": {"target": "docker"}}}}, model_yaml)
    write_lock(folder, home, print)
    commit(folder)
    return folder


def _greeting(repositories: Path, home: Path, base: str) -> Path:
    """Put a project with a Dockerfile of its own at the Git server."""
    folder = make_tiny(repositories / "greeting", home)
    settings = yaml.safe_load((folder / "model.yaml").read_text())
    settings |= {"name": "greeting", "deployment": {"environments": {"production": {"target": "docker"}}}}
    texts = {
        "model.yaml": yaml.safe_dump(settings),
        "train.py": (folder / "train.py").read_text().replace("    time.sleep(pause)\n", _GREETS),
        "requirements.txt": "sacred==0.8.7\nsetuptools<81\n",
        "Dockerfile": f"FROM {base}\n{_DOCKERFILE}",
    }
    for file, text in texts.items():
        (folder / file).write_text(text)
    write_lock(folder, home, print)
    commit(folder)
    return folder


@pytest.fixture
def api(yard: Yard) -> Iterator[AirflowApi]:
    with yard.machine.api() as api:
        yield api


def test_the_whole_line_in_containers_twice(yard: Yard, api: AirflowApi):
    """The second run uses what the first has built; its worker dies; and its version takes over under load."""
    with Seen(yard.inspected, 0.3) as seen:
        first = succeed(api, "tiny", {})
        address = api.xcom("tiny", first, "deploy")["address"]
        assert ask(address, {"x": 0.45})[0] == {"prediction": "low"}
        with Load(urlsplit(address).port or 0, {"rows": [{"x": 0.45}]}, {1: "low", 2: "high"}.__getitem__) as load:
            second = api.trigger("tiny", {"config.threshold": 0.4, "config.pause": 30})
            before = wait_until(lambda: _training(yard), 300, "a training container")
            os.kill(api.get(f"/dags/tiny/dagRuns/{second}/taskInstances/train")["pid"], signal.SIGKILL)
            assert api.wait("tiny", second) == "success", failures(api, "tiny", second)
            load.wait_for(50)
    assert load.failures == []
    assert ask(address, {"x": 0.45})[1]["modelyard-model-version"] == "2"

    # The image that is live is handed to an engine without a registry between.
    command = [str(Path(sys.executable).parent / "modelyard"), "image", "load", "tiny@production"]
    environment = os.environ | yard.store.to_environment() | {"DOCKER_HOST": yard.engine.url}
    environment["MODELYARD_HOME"] = str(yard.machine.home)
    told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert told.stdout == "docker run --rm -p 8080:8080 tiny:2\n"
    assert "model: 0.0 MB" in told.stderr
    (tagged,) = yard.engine.client().images("tiny")
    assert tagged["RepoTags"] == ["tiny:2"]

    # The container outlived its worker, and the next try took it up.
    lines = [record["event"] for record in api.log("tiny", second, "train", 2)]
    assert f"Taking up container {before['Name'].lstrip('/')}, which still runs; all its lines:" in lines
    with Store.open(yard.store) as store:
        version = store.versions.get("tiny", 2)
        assert store.runs.get(version.run_id)["status"] == "COMPLETED"
        assert len(store.versions.find(name="tiny").versions) == 2
    said = "\n".join(str(record["event"]) for record in api.log("tiny", second, "prepare", 1))
    assert "The environment is built already" in said
    assert "The environment image is built already" in said

    # Nothing stays of a step that has ended well.
    assert yard.steps() == []
    assert yard.engine.client().networks(filters={"label": "modelyard.io/step"}) == []

    # What anybody may see of the containers has no credential; each is as confined as a pod.
    assert set(yard.credentials) == {"database", "artifacts", "registry", "repository"}
    assert Search(yard.credentials).found(seen.places) == set()
    steps = {name for name, _ in seen.places}
    assert {"prepare", "train", "log_to_sacred", "validate", "containerise", "test_image", "push"} <= steps
    assert "deploy" not in steps, "no container is given the engine"
    for name in ("train", "test_image"):
        shown = str(seen.named(name))
        assert '"ReadonlyRootfs": true' in shown
        assert "docker.sock" not in shown
    assert '"Aliases": ["production"' in str(seen.named("validate"))


def _training(yard: Yard) -> dict[str, Any] | None:
    return next((one for one in yard.steps("train") if one["State"]["Running"]), None)


def test_a_projects_own_dockerfile_is_built_by_the_engine_trained_in_and_served_from(yard: Yard, api: AirflowApi):
    client = yard.engine.client()
    before = {image["Id"] for image in client.images(all=True)}
    with Seen(yard.inspected, 0.3) as seen:
        first = succeed(api, "greeting", {})
    said = {step: "\n".join(str(one["event"]) for one in api.log("greeting", first, step, 1)) for step in _LOGGED}
    assert "Step 4/5 : ENV PATH=/opt/venv/bin:$PATH" in said["prepare"]
    assert "prefix /opt/venv from the Dockerfile" in said["train"]
    assert "cannot be started" not in said["validate"]
    assert ask(api.xcom("greeting", first, "deploy")["address"], {"x": 0.9})[0] == {"prediction": "high"}

    # Neither RUN lines nor the project's code have seen a credential; the code is as confined as the step.
    assert "python3 -m venv" in said["prepare"], "they saw no process"
    assert Search(yard.credentials).found((step, text.encode()) for step, text in said.items()) == set()
    assert Search(yard.credentials).found(seen.places) == set()
    steps = {name for name, _ in seen.places}
    assert {"train", "validate"} <= steps
    assert "prepare" not in steps, "no container is given the engine"
    assert '"VolumesFrom": ["' in str(seen.named("train"))

    # What was made to build it is gone, and the next run takes it as it is.
    assert not client.images(all=True, filters={"label": "modelyard.io/build"})
    assert yard.steps() == []
    kept = {name for image in client.images() for name in image["RepoTags"] or () if image["Id"] not in before}
    assert not [name for name in kept if "build" in name]
    second = succeed(api, "greeting", {"release": False})
    lines = [str(one["event"]) for one in api.log("greeting", second, "prepare", 1)]
    assert any(line.startswith("The project's image is built already") for line in lines)


def test_what_a_projects_own_image_takes_too_much_of_is_told(yard: Yard, api: AirflowApi):
    refused = fail(api, "greeting", {"release": False, "resources.train.memory": "24Mi"})
    assert "Step 'train' took more memory than it may" in refused["train"]
    client = yard.engine.client()
    for kept in yard.steps():
        client.remove_container(kept["Id"], v=True, force=True)


def test_a_run_that_is_cancelled_leaves_no_container(yard: Yard, api: AirflowApi):
    api.wait_for_dag("tiny")
    run = api.trigger("tiny", {"release": False, "config.pause": 300})
    wait_until(lambda: _training(yard), 300, "a training container")
    api.patch(f"/dags/tiny/dagRuns/{run}", {"state": "failed"})
    wait_until(lambda: not yard.steps(), 60, "the container's removal")


def test_a_step_that_takes_too_much_memory_says_so_and_its_container_is_kept(yard: Yard, api: AirflowApi):
    refused = fail(api, "tiny", {"release": False, "resources.train.memory": "24Mi"})
    assert list(refused) == ["train"]
    assert "Step 'train' took more memory than it may\n  → give it more by the Param resources.…" in refused["train"]
    (kept,) = yard.steps()
    assert kept["State"]["OOMKilled"]
    assert kept["Config"]["Labels"].items() >= {"modelyard.io/dag": "tiny", "modelyard.io/step": "train"}.items()
    yard.engine.client().remove_container(kept["Id"], v=True)
