"""Nothing embedded: MongoDB, S3 and registry named by Airflow's connections, each with credentials of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import pytest
from tests.cosign import as_cosign_keeps_it, key_pair
from tests.fixtures_machine import copy_of, example_of, succeed
from tests.fixtures_registry import push_base
from tests.searching import Place, Search, Seen, arguments, files, noting
from tests.traces import in_airflow, in_bucket, in_database, in_images, in_records

from modelyard.demo.machine import Machine
from modelyard.demo.rest import AirflowApi
from modelyard.images import open_images
from modelyard.images.interpreter import Interpreter
from modelyard.project.write_lock import write_lock
from modelyard.provider_info import CONNECTION_ID, connections
from modelyard.store import Store, StoreAddress
from modelyard.supply_chain import SigningKey

_PRIVATE, PUBLIC = key_pair()
SIGNING = SigningKey(as_cosign_keeps_it(_PRIVATE, "password"), "password")


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
    key = {"conn_type": "generic", "password": SIGNING.password, "extra": {"private_key": SIGNING.pem}}
    api.put_connection("model_store_signing", key)
    connect(api, replace(address, verification_key=PUBLIC), signing_conn_id="model_store_signing")
    yield address
    connect(api, machine.store)


def connect(api: AirflowApi, address: StoreAddress, **extra: str) -> None:
    for connection_id, fields in connections(address).items():
        connection = json.loads(fields)
        if connection_id == CONNECTION_ID:
            connection["extra"] |= extra
        api.put_connection(connection_id, connection)


def test_the_same_line_runs_with_nothing_embedded_and_shows_no_credential(
    machine: Machine, api: AirflowApi, projects: Path, elsewhere: StoreAddress, s3: Any
):
    project = copy_of("wine", projects, "wine-elsewhere")
    write_lock(project, machine.home, print)
    with Seen(arguments, 0.1) as seen:
        run = succeed(api, project.name, {})

    deployed = api.xcom(project.name, run, "deploy")
    with Store.open(elsewhere) as store:
        version = store.versions.get(project.name, deployed["version"])
        assert store.runs.get(version.run_id)["status"] == "COMPLETED"
        assert all(store.artifacts.exists(file.digest) for file in version.model)
    images = open_images(elsewhere, machine.home)
    assert images.resolve(project.name, str(version.version)) == version.image_digest
    assert version.image_digest is not None
    kinds = [layer.kind for layer in images.pull(project.name, version.image_digest).layers]
    assert kinds == [None, None, "server", "interpreter", "model"]  # compiled
    with Store.open(machine.store) as embedded:
        assert project.name not in embedded.versions.names()
    answer = httpx.post(f"{deployed['address']}/predict", json=example_of(deployed["address"]))
    assert answer.headers["modelyard-image-digest"] == version.image_digest

    search = Search(
        {
            "database": unquote(str(urlsplit(elsewhere.mongo_uri).password)),
            "artifacts": str(elsewhere.s3_secret_key),
            "registry": str(elsewhere.registry_password),
            "signing": SIGNING.pem.splitlines()[1],
        }
    )
    searched: set[str] = set()

    def left() -> Iterator[Place]:
        registry, _, prefix = elsewhere.registry.partition("/")
        login = (str(elsewhere.registry_username), str(elsewhere.registry_password))
        yield from seen.places
        yield from in_airflow(api, project.name, run)
        yield from in_database(machine.home / "airflow" / "airflow.db")
        yield from files(machine.home)
        with Store.open(elsewhere) as store:
            yield from in_records(store)
        yield from in_bucket(s3.client(), s3.bucket)
        yield from in_images(images, f"http://{registry}", prefix, login, [])

    assert search.found(noting(left(), searched)) == set()
    shown = {f"{project.name} {what}" for what in ("log", "task", "XCom")}
    places = {"arguments", "table xcom", "collection runs", "artifact", "layer model", f"attached to {project.name}"}
    assert shown | places <= searched
