import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowFailException
from tests.released_models import sacred_run
from tests.unit.model_store.contexts import context

from model_store.operators import RegisterVersionOperator
from modelyard.environments import read_lock
from modelyard.provider_info import connections
from modelyard.store import Store

EXAMPLE = Path(__file__).parents[3] / "include" / "examples" / "wine"


@pytest.fixture(autouse=True)
def connected(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for conn_id, connection in connections(store.address).items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", connection)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return shutil.copytree(EXAMPLE, tmp_path / "wine")


@pytest.fixture
def model(tmp_path: Path, project: Path) -> Path:
    """A model directory, as log_model leaves it, of an environment where one package is newer than locked."""
    packages = {pin.name: pin.version for pin in read_lock(project / "Pipfile.lock").requirements} | {"numpy": "99"}
    facts: dict[str, Any] = {"format": 1, "packages": packages, "signature": {"kind": "columns", "inputs": []}}
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "modelyard.json").write_text(json.dumps(facts))
    (folder / "model.joblib").write_bytes(b"a model")
    return folder


def register(run_id: int | str, folder: Path, project: Path) -> int:
    task = RegisterVersionOperator(task_id="register", run_id=run_id, folder=str(folder), project=str(project))
    return task.execute(context())


def test_a_run_of_another_pipeline_becomes_a_candidate_once(store: Store, model: Path, project: Path):
    run_id = sacred_run(store, 7)
    assert register(str(run_id), model, project) == register(run_id, model, project) == 1
    made = store.versions.get("wine", 1)
    assert (made.run_id, made.created_by, made.commit, made.pipeline_run) == (7, "ada", None, None)
    assert made.metrics == {"accuracy": 0.97, "loss": 0.2}
    assert [file.path for file in made.model] == ["model.joblib", "modelyard.json"]
    assert [difference for difference in made.package_differences if "numpy" in difference]
    assert store.artifacts.exists(made.project_digest)
    assert made.image_digest is None


def test_the_version_is_an_event_of_its_model(store: Store, model: Path, project: Path):
    task = RegisterVersionOperator(
        task_id="register",
        run_id=sacred_run(store, 7),
        folder=str(model),
        project=str(project),
        outlets=[Asset("mine")],
    )
    told = context()
    task.execute(told)
    mine, alias = task.outlets
    assert mine == Asset("mine")
    (event,) = told["outlet_events"][alias].asset_alias_events
    assert event.dest_asset_key.uri == "modelyard://wine/versions"
    digest = store.versions.get("wine", 1).model_digest
    assert event.extra == {"version": 1, "model_digest": digest, "sacred_run": 7, "pipeline_run": None}


def test_what_cannot_be_a_version_fails_for_good(store: Store, model: Path, project: Path, tmp_path: Path):
    running = sacred_run(store, 8, status="RUNNING", stop_time=None)
    with pytest.raises(AirflowFailException, match="run 8 is RUNNING"):
        register(running, model, project)
    with pytest.raises(AirflowFailException, match="is no model directory"):
        register(running, tmp_path, project)
    with pytest.raises(AirflowFailException, match="no Sacred run 99"):
        register(99, model, project)
    with pytest.raises(AirflowFailException, match="'seven' is no number"):
        register("seven", model, project)
    assert store.versions.names() == []
