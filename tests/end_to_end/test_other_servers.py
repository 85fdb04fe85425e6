"""Nothing embedded: MongoDB, S3 and registry named by Airflow's connections, each with credentials of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.fixtures_machine import copy_of, example_of, succeed

from modelyard.demo.machine import Machine
from modelyard.demo.rest import AirflowApi
from modelyard.images import open_images
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
        registry_password="secret",
        registry_insecure=True,
        installation="elsewhere",
    )
    connect(api, address)
    yield address
    connect(api, machine.store)


def connect(api: AirflowApi, address: StoreAddress) -> None:
    for connection_id, fields in connections(address).items():
        api.put_connection(connection_id, json.loads(fields))


def test_the_same_line_runs_with_nothing_embedded(
    machine: Machine, api: AirflowApi, projects: Path, elsewhere: StoreAddress
):
    project = copy_of("wine", projects, "wine-elsewhere")
    write_lock(project, machine.home, print)
    run = succeed(api, project.name, {})

    deployed = api.xcom(project.name, run, "deploy")
    with Store.open(elsewhere) as store:
        version = store.versions.get(project.name, deployed["version"])
        assert store.runs.get(version.run_id)["status"] == "COMPLETED"
        assert all(store.artifacts.exists(file.digest) for file in version.model)
    assert open_images(elsewhere, machine.home).resolve(project.name, str(version.version)) == version.image_digest
    with Store.open(machine.store) as embedded:
        assert project.name not in embedded.versions.names()
    answer = httpx.post(f"{deployed['address']}/predict", json=example_of(deployed["address"]))
    assert answer.headers["modelyard-image-digest"] == version.image_digest

    for task in api.tasks(project.name, run):
        log = json.dumps(api.log(project.name, run, task.task_id, task.try_number))
        assert "name:secret" not in log
        assert elsewhere.mongo_uri not in log
