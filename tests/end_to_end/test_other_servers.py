"""Nothing embedded: MongoDB, S3 and registry named by Airflow's connections, each with credentials of its own."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import pytest
from tests.fixtures_machine import copy_of, example_of, succeed
from tests.fixtures_registry import push_base

from modelyard.demo.machine import Machine
from modelyard.demo.rest import AirflowApi
from modelyard.images import open_images
from modelyard.images.interpreter import Interpreter
from modelyard.project.write_lock import write_lock
from modelyard.provider_info import connections
from modelyard.store import Store, StoreAddress


@pytest.fixture
def elsewhere(
    machine: Machine, api: AirflowApi, mongo_uri: str, s3: Any, guarded_registry: Any
) -> Iterator[StoreAddress]:
    address: StoreAddress = s3.address(
        "models",
        mongo_uri=mongo_uri,
        database="elsewhere",
        registry=f"{guarded_registry.host}/{guarded_registry.prefix}",
        registry_username="name",
        registry_password=guarded_registry.password,
        registry_insecure=True,
        installation="elsewhere",
    )
    base = push_base(address, machine.home, Interpreter.of_this_machine().python)
    address = replace(address, base_image=base)
    connect(api, address)
    yield address
    connect(api, machine.store)


def connect(api: AirflowApi, address: StoreAddress) -> None:
    for connection_id, fields in connections(address).items():
        api.put_connection(connection_id, json.loads(fields))


class Arguments:
    """All arguments of all processes, looked at again and again while this is entered."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.1):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):  # it has ended meanwhile
                    self.seen.add(path.read_bytes())


def shown_by_airflow(api: AirflowApi, model: str, run: str) -> str:
    """Return all that a run's tasks have shown to whoever may look at it: logs, XComs, rendered fields, links."""
    shown: list[Any] = []
    for task in api.tasks(model, run):
        path = f"/dags/{model}/dagRuns/{run}/taskInstances/{task.task_id}"
        shown += [api.log(model, run, task.task_id, number) for number in range(1, task.try_number + 1)]
        shown += [api.get(path), api.get(f"{path}/links")]
        for entry in api.get(f"{path}/xcomEntries")["xcom_entries"]:
            shown.append([entry["key"], api.xcom(model, run, task.task_id, entry["key"])])
    return json.dumps(shown)


def kept_in(folder: Path, text: str) -> list[str]:
    """Return the files below a folder that hold a text."""
    found = subprocess.run(["grep", "-rlF", "-e", text, folder], capture_output=True, text=True)
    assert found.returncode < 2, found.stderr
    return found.stdout.splitlines()


def test_the_same_line_runs_with_nothing_embedded_and_shows_no_credential(
    machine: Machine, api: AirflowApi, projects: Path, elsewhere: StoreAddress
):
    project = copy_of("wine", projects, "wine-elsewhere")
    write_lock(project, machine.home, print)
    with Arguments() as arguments:
        run = succeed(api, project.name, {})

    deployed = api.xcom(project.name, run, "deploy")
    with Store.open(elsewhere) as store:
        version = store.versions.get(project.name, deployed["version"])
        assert store.runs.get(version.run_id)["status"] == "COMPLETED"
        assert all(store.artifacts.exists(file.digest) for file in version.model)
        database = store.mongo[elsewhere.database]
        recorded = str([list(database[name].find()) for name in database.list_collection_names()])
    images = open_images(elsewhere, machine.home)
    assert images.resolve(project.name, str(version.version)) == version.image_digest
    assert version.image_digest is not None
    kinds = [layer.kind for layer in images.pull(project.name, version.image_digest).layers]
    assert kinds == [None, None, "environment", "server", "interpreter", "project", "model"]
    with Store.open(machine.store) as embedded:
        assert project.name not in embedded.versions.names()
    answer = httpx.post(f"{deployed['address']}/predict", json=example_of(deployed["address"]))
    assert answer.headers["modelyard-image-digest"] == version.image_digest

    shown = shown_by_airflow(api, project.name, run)
    # The search finds what is there.
    assert str(version.image_digest) in shown
    assert any(b"--pipeline-run" in seen for seen in arguments.seen)
    assert kept_in(machine.home / "airflow", project.name)
    mongo_password = urlsplit(elsewhere.mongo_uri).password
    for credential in (mongo_password, elsewhere.s3_secret_key, elsewhere.registry_password):
        assert credential
        assert credential not in shown
        assert credential not in recorded
        assert not [seen for seen in arguments.seen if credential.encode() in seen]
        assert kept_in(machine.home, credential) == []
