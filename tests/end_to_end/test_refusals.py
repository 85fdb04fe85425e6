"""What goes wrong is told where its user looks first, and leaves production as it was.

What takes long is tested without Airflow too, in tests/pipeline.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures_machine import EXAMPLES, copy_of, fail, succeed, takes_long
from tests.pipeline.tiny import LOADS_ONLY_BESIDE_A_STEP, make_tiny
from tests.yard import ask

from modelyard.background import free_port
from modelyard.demo.machine import Machine
from modelyard.demo.rest import AirflowApi
from modelyard.project.write_lock import write_lock
from modelyard.provider_info import CONNECTION_ID, connections
from modelyard.store import Store
from modelyard.store.records import Alias


def live(machine: Machine, model: str) -> Alias | None:
    with Store.open(machine.store) as store:
        return store.aliases.get(model, "production")


@pytest.fixture(scope="module")
def houses(machine: Machine) -> str:
    """A model that is live."""
    with machine.api() as api:
        succeed(api, "houses", {})
    return "houses"


@takes_long
def test_a_bad_data_file_is_refused_with_its_column_and_rows(
    machine: Machine, api: AirflowApi, houses: str, tmp_path: Path
):
    before = live(machine, houses)
    lines = (EXAMPLES / "houses" / "data" / "houses.csv").read_text().splitlines()
    price = lines[0].split(",").index("price")
    cells = lines[1].split(",")
    cells[price] = "-1"
    bad = tmp_path / "bad.csv"
    bad.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]))
    errors = fail(api, houses, {"data.houses": bad.as_uri()})
    assert list(errors) == ["validate"]
    assert "price" in errors["validate"]
    assert live(machine, houses) == before


@takes_long
def test_a_failed_gate_shows_what_was_expected_and_found(machine: Machine, api: AirflowApi, projects: Path):
    project = copy_of("wine", projects, "wine-strict", ("log_loss: {max: 0.3}", "log_loss: {max: 0.000001}"))
    write_lock(project, machine.home, print)
    errors = fail(api, project.name, {})
    assert list(errors) == ["validate"]
    assert "log_loss" in errors["validate"]
    assert "1e-06" in errors["validate"]
    assert live(machine, project.name) is None
    with Store.open(machine.store) as store:
        assert store.versions.get(project.name, 1).report is not None


@pytest.fixture(scope="module")
def tiny(machine: Machine) -> Path:
    """A model whose first version is live, and whose steps are tried once."""
    project = make_tiny(machine.home.parent / "projects" / "tiny", machine.home)
    with (project / "model.yaml").open("a") as model_yaml:
        model_yaml.write("retries: 0\n")
    write_lock(project, machine.home, print)
    with machine.api() as api:
        succeed(api, "tiny", {})
    return project


@pytest.fixture
def connection(api: AirflowApi, machine: Machine) -> Iterator[Callable[..., None]]:
    """Change fields of the model store's connection; after the test it is as it was."""
    fields = json.loads(connections(machine.store)[CONNECTION_ID])

    def change(**changes: Any) -> None:
        api.put_connection(CONNECTION_ID, fields | changes | {"extra": fields["extra"] | changes.get("extra", {})})

    yield change
    api.put_connection(CONNECTION_ID, fields)


def test_a_server_out_of_reach_is_named_without_its_password(
    machine: Machine, api: AirflowApi, tiny: Path, connection: Callable[..., None]
):
    before = live(machine, "tiny")
    nobody = f"127.0.0.1:{free_port()}"
    connection(host=nobody)
    errors = fail(api, "tiny", {})
    assert list(errors) == ["prepare"]
    assert nobody in errors["prepare"]
    assert json.loads(connections(machine.store)[CONNECTION_ID])["password"] not in errors["prepare"]

    connection(extra={"registry": f"{nobody}/models", "registry_insecure": True})
    errors = fail(api, "tiny", {})
    assert list(errors) == ["prepare"]
    assert f"The registry {nobody} cannot be reached" in errors["prepare"]
    assert "check its address" in errors["prepare"]
    assert live(machine, "tiny") == before


@takes_long
def test_a_version_that_gets_never_ready_leaves_the_one_before_in_its_place(
    machine: Machine, api: AirflowApi, tiny: Path
):
    before = live(machine, "tiny")
    predict = tiny / "predict.py"
    predict.write_text(predict.read_text().replace(*LOADS_ONLY_BESIDE_A_STEP))
    write_lock(tiny, machine.home, print)
    errors = fail(api, "tiny", {})
    assert list(errors) == ["deploy"]
    assert "did not go live in 'production'; version " in errors["deploy"]
    assert "RuntimeError: no license for this machine" in errors["deploy"]
    assert live(machine, "tiny") == before
    with Store.open(machine.store) as store:
        deployment = store.deployments.live("tiny", "production")
    assert deployment is not None
    assert deployment.address is not None
    _, headers = ask(deployment.address, {"x": 0.9})
    assert headers["modelyard-model-version"] == "1"


def test_a_project_that_cannot_be_read_is_a_dag_that_says_so(api: AirflowApi, projects: Path):
    (projects / "unreadable").mkdir()
    (projects / "unreadable" / "model.lock.json").write_text("{")
    dag = api.wait_for_dag("unreadable")
    assert "model.lock.json" in dag["description"]
    errors = fail(api, "unreadable", {})
    assert "modelyard lock" in next(iter(errors.values()))
