from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import ParamValidationError
from airflow.utils.file import find_dag_file_paths
from tests.unit.model_store.contexts import context
from tests.unit.model_store.test_pipeline import serialized

from model_store.collection import DAG_ID, CollectionStep, collection_dag
from model_store.kubernetes import Cluster, KubernetesStepOperator
from model_store.local import LocalStepOperator
from model_store.run import Ended
from modelyard.steps.entry import run_step
from modelyard.store import Store


def test_airflow_reads_each_of_our_dag_files():
    folder = Path(__file__).parents[3] / "dags"
    assert sorted(find_dag_file_paths(folder, safe_mode=True)) == sorted(str(path) for path in folder.glob("*.py"))


def test_it_is_off_until_somebody_switches_it_on_and_deletes_by_its_schedule():
    dag = collection_dag(LocalStepOperator)
    kept = serialized(dag)
    assert (kept["dag_id"], kept["is_paused_upon_creation"], kept["catchup"]) == ("modelyard-gc", True, False)
    assert {name: param["default"] for name, param in kept["params"]} == {"delete": True, "older_than": "7d"}
    assert [task.task_id for task in dag.tasks] == ["gc"]
    dag.params["older_than"] = "36h"
    for wrong in ("7", "0d", "a week", "-1d", "9999999999d"):
        with pytest.raises(ParamValidationError):
            dag.params["older_than"] = wrong


def test_a_pod_of_it_has_the_stores_credentials_and_nothing_of_a_project(store: Store, monkeypatch: pytest.MonkeyPatch):
    cluster = Cluster("kubernetes_default", "modelyard", "registry.example.com/models/runner:1", 3600)
    dag = collection_dag(lambda **asked: KubernetesStepOperator(cluster=cluster, **asked))
    task: Any = dag.get_task("gc")
    monkeypatch.setattr(KubernetesStepOperator, "_apply", lambda _, secret: secret["metadata"]["name"])
    monkeypatch.setattr("model_store.hook.ModelStoreHook.registry_conn_id", lambda _: None)
    asked = context({"delete": True, "older_than": "7d"}, dag_id=DAG_ID)
    run, command = task.pipeline_step.begin(asked, store)
    pod = task._pod(asked, store, run, command)
    (container,) = pod["spec"]["containers"]
    assert container["image"] == "registry.example.com/models/runner:1"
    assert container["args"][:4] == ["step", "gc", "--pipeline-run", run.id]
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert [volume["name"] for volume in pod["spec"]["volumes"] if "secret" in volume] == ["store"]


def test_its_task_tells_airflow_what_it_found(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    task: Any = collection_dag(LocalStepOperator).get_task("gc")
    step = task.pipeline_step
    assert isinstance(step, CollectionStep)
    file = store.artifacts.put_bytes(b"nothing refers to this", "file")
    for number, delete in enumerate((False, True)):
        asked = context({"delete": delete, "older_than": "1h"}, dag_id=DAG_ID, run_id=f"manual__{number}")
        asked["ti"] = SimpleNamespace(try_number=1)
        run, command = step.begin(asked, store)
        assert run_step(command.step, run.id, store.address, tmp_path / "home") == 0
        told = step.end(asked, store, run, Ended(0, 1))
        assert told == {"deleted": delete, "things": 0, "bytes": 0, "later": 1, "later_bytes": file.size}
        assert step.links(store, run) == {}
    assert "artifacts that nothing refers to" in capsys.readouterr().out
    assert store.artifacts.exists(file.digest)
