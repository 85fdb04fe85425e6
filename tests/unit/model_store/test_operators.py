from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowFailException
from tests.released_models import release, version
from tests.unit.model_store.contexts import context

from model_store.operators import FetchVersionOperator, PromoteVersionOperator
from model_store.sensor import ModelVersionSensor
from modelyard.provider_info import connections
from modelyard.sources import tree_tar
from modelyard.store import ModelVersion, Store


@pytest.fixture(autouse=True)
def connected(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for conn_id, connection in connections(store.address).items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", connection)


def candidate(store: Store, run_id: int, folder: Path) -> ModelVersion:
    """A version of a project that may be deployed to production and to staging."""
    project = folder / f"project-{run_id}"
    project.mkdir()
    (project / "model.yaml").write_text("name: wine\ndeployment: {environments: {staging: {}, production: {}}}\n")
    with (folder / "tree.tar").open("wb") as stream:
        tree_tar(project, stream)
    return version(store, run_id=run_id, project_digest=store.artifacts.put_file(folder / "tree.tar").digest)


def promote(alias: str, to: int | str, expected: int | None = None) -> PromoteVersionOperator:
    return PromoteVersionOperator(
        task_id="promote", model="wine", alias=alias, version=to, why="reviewed", expected=expected
    )


def test_an_alias_is_moved_once_with_who_and_why(store: Store, tmp_path: Path):
    candidate(store, 1, tmp_path)
    for _ in range(2):
        assert promote("champion", "1").execute(context()) == 1
    kept = store.aliases.get("wine", "champion")
    assert kept is not None
    assert [(move.by, move.why, move.to_version) for move in kept.history] == [("ada", "reviewed", 1)]


def test_an_environments_alias_is_left_to_its_deployments(store: Store):
    first, second = version(store, run_id=1), version(store, run_id=2)
    release(store, first)
    with pytest.raises(AirflowFailException, match="modelyard-rollback"):
        promote("production", second.version).execute(context())
    kept = store.aliases.get("wine", "production")
    assert kept is not None
    assert kept.version == first.version


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_an_environments_alias_is_its_own_before_anything_was_deployed_there(
    store: Store, tmp_path: Path, environment: str
):
    made = candidate(store, 1, tmp_path)
    with pytest.raises(AirflowFailException, match=f"'{environment}' is an environment of 'wine'"):
        promote(environment, made.version).execute(context())
    assert store.aliases.of("wine") == []


@pytest.mark.parametrize(
    ("to", "expected", "told"), [(9, None, "no version 9"), (1, 5, "not to version 5"), ("x", None, "'x'")]
)
def test_a_move_that_cannot_be_right_fails_for_good(
    store: Store, tmp_path: Path, to: int | str, expected: int | None, told: str
):
    candidate(store, 1, tmp_path)
    with pytest.raises(AirflowFailException, match=told):
        promote("champion", to, expected).execute(context())


@pytest.mark.parametrize("reference", [1, "1", "production"])
def test_a_version_is_fetched_by_number_or_alias(store: Store, tmp_path: Path, reference: int | str):
    release(store, version(store, run_id=1))
    task = FetchVersionOperator(task_id="fetch", model="wine", version=reference, folder=str(tmp_path / "model"))
    assert task.execute(context()) == 1
    assert (tmp_path / "model" / "model.joblib").read_bytes() == b"model of run 1"


def test_fetching_what_an_alias_does_not_name_fails_for_good(tmp_path: Path):
    task = FetchVersionOperator(task_id="fetch", model="wine", version="production", folder=str(tmp_path))
    with pytest.raises(AirflowFailException, match="No version of 'wine' has the alias 'production'"):
        task.execute(context())


@pytest.mark.parametrize(
    ("alias", "wanted", "found"),
    [
        (None, None, 2),
        (None, 1, 1),
        (None, 7, None),
        ("production", None, 1),
        ("production", 2, None),
        ("no", None, None),
    ],
)
def test_the_sensor_waits_for_a_version_or_an_alias(
    store: Store, alias: str | None, wanted: int | None, found: int | None
):
    release(store, version(store, run_id=1))
    version(store, run_id=2)
    sensor = ModelVersionSensor(task_id="wait", model="wine", alias=alias, version=wanted)
    seen = sensor.poke(context())
    assert (bool(seen.is_done), seen.xcom_value) == (found is not None, found)


def test_a_deferrable_sensor_looks_before_it_defers(store: Store):
    version(store, run_id=1)
    sensor = ModelVersionSensor(task_id="wait", model="wine", deferrable=True)
    assert sensor.execute(context()) == 1
