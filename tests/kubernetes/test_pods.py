"""Airflow on this machine, every step a pod of a real cluster."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest
from tests.fixtures_machine import fail, succeed, takes_long, wait_until
from tests.kubernetes.administration import manifests
from tests.kubernetes.conftest import Yard
from tests.kubernetes.ground import CONNECTION, LOGIN
from tests.kubernetes.stepping import altered
from tests.searching import Seen

from modelyard.demo.rest import AirflowApi
from modelyard.demo.show import failures
from modelyard.errors import RequestError
from modelyard.project.write_lock import write_git_entry
from modelyard.store import Store


def test_a_candidate_is_trained_in_pods(yard: Yard, api: AirflowApi):
    run = succeed(api, "tiny", {"release": False})
    assert {task.task_id: task.try_number for task in api.tasks("tiny", run) if task.state == "success"} == {
        "prepare": 1,
        "train": 1,
        "log_to_sacred": 1,
    }
    with Store.open(yard.ground.store) as store:
        version = store.versions.get("tiny", api.xcom("tiny", run, "log_to_sacred")["version"])
        assert store.runs.get(version.run_id)["status"] == "COMPLETED"
        assert not version.dirty
    lines = [record["event"] for record in api.log("tiny", run, "prepare", 1)]
    assert f"Project at {version.commit}" in lines
    assert yard.ground.pods() == {}, "a pod that has succeeded is removed"


def test_a_refusal_is_told_in_the_steps_own_words_and_its_pod_is_kept(yard: Yard, api: AirflowApi):
    refused = fail(api, "tiny", {"config.treshold": 0.4})
    assert list(refused) == ["prepare"]
    assert "keys that this model does not know: config.treshold" in refused["prepare"]
    pod = yard.ground.pods()["prepare"]
    assert pod.status.phase == "Failed"
    assert pod.metadata.labels["try_number"] == "1"
    yard.ground.core.delete_namespaced_pod(pod.metadata.name, yard.ground.namespace)


def test_a_pod_outlives_its_worker_and_is_taken_up_again(yard: Yard, api: AirflowApi):
    api.wait_for_dag("tiny")
    run = api.trigger("tiny", {"release": False, "config.pause": 20})

    def training() -> Any:
        pod = yard.ground.pods().get("train")
        return pod if pod is not None and pod.status.phase == "Running" else None

    before = wait_until(training, 300, "a training pod")
    task = api.get(f"/dags/tiny/dagRuns/{run}/taskInstances/train")
    os.kill(task["pid"], signal.SIGKILL)
    last: list[Any] = []

    def taken_up() -> bool:
        last[:] = [pod for step, pod in yard.ground.pods().items() if step == "train"] or last
        return api.run("tiny", run)["state"] in ("success", "failed")

    wait_until(taken_up, 300, "the end of the run")
    assert api.run("tiny", run)["state"] == "success", failures(api, "tiny", run)
    assert last[0].metadata.uid == before.metadata.uid
    assert last[0].status.container_statuses[0].restart_count == 0
    tries = {one.task_id: one.try_number for one in api.tasks("tiny", run)}
    assert tries["train"] == 2
    with Store.open(yard.ground.store) as store:
        runs = store.mongo[yard.ground.store.database]["runs"]
        pipeline_run = last[0].metadata.annotations["modelyard.io/pipeline-run"]
        found = runs.find({"meta.modelyard.pipeline_run": pipeline_run})
        assert [document["status"] for document in found] == ["COMPLETED"]


def test_the_whole_line_ends_in_a_service_that_answers(yard: Yard, api: AirflowApi):
    with Seen(yard.ground.manifests, 0.3) as seen:
        runs = [succeed(api, "tiny", {"config.threshold": threshold}) for threshold in (0.5, 0.4)]
    deployed = api.xcom("tiny", runs[-1], "deploy")
    answer = yard.ask({"rows": [{"x": 0.45}]})
    assert answer["predictions"] == [{"prediction": "high"}]
    assert answer["model_version"] == str(deployed["version"])
    tested = api.xcom("tiny", runs[-1], "test_image")
    assert tested["image_digest"] == deployed["image_digest"]
    assert f"/tiny@{tested['image_digest']}" in str(seen.named("test_image"))
    assert "beside-production" in str(seen.named("validate"))


def test_the_workers_role_has_just_what_the_runs_above_asked_for(yard: Yard):
    role = next(one for one in manifests("modelyard.yaml", {"modelyard": "", "airflow": ""}) if one["kind"] == "Role")
    assert role["metadata"]["name"] == "modelyard-worker"
    granted = {(verb, what) for rule in role["rules"] for what in rule["resources"] for verb in rule["verbs"]}
    assert yard.recorder.seen == granted


@pytest.fixture(scope="module")
def patient(yard: Yard, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A project whose training the triggerer waits for; more than a second of it, as Airflow 3.3 needs."""
    altered(
        yard.ground,
        "patient",
        tmp_path_factory.mktemp("patient"),
        {"train.py": ("    time.sleep(pause)\n", _PATIENT)},
        "steps: {train: {defer: true, resources: {memory: 256Mi}}}\n",
    )
    return write_git_entry(yard.projects, yard.ground.source("patient"), CONNECTION, LOGIN)


_PATIENT = """\
    print("it has begun", flush=True)
    time.sleep(pause)
    assert threshold < 1, "nothing is above that"
"""


@takes_long
def test_the_triggerer_waits_and_the_lines_come_all_the_same(yard: Yard, api: AirflowApi, patient: str):
    api.wait_for_dag(patient)
    conf = {"release": False, "config.pause": 25, "resources.train.memory": "384Mi"}
    run = api.trigger(patient, conf)

    def state() -> str | None:
        return {task.task_id: task.state for task in api.tasks(patient, run)}.get("train")

    wait_until(lambda: state() == "deferred", 300, "a deferred training")
    (container,) = yard.ground.pods()["train"].spec.containers
    assert container.resources.limits == {"memory": "384Mi"}, "what the run was given, and not model.yaml's"

    def told() -> str:
        return json.dumps(api.log(patient, run, "train", 1))

    wait_until(lambda: "it has begun" in told(), 60, "the training's first line")
    assert state() == "deferred", "it is told while it goes on"
    assert api.wait(patient, run) == "success", failures(api, patient, run)
    assert [task.try_number for task in api.tasks(patient, run) if task.task_id == "train"] == [1]
    assert told().count("it has begun") == 1
    trained, logged = (api.xcom(patient, run, task) for task in ("train", "log_to_sacred"))
    with Store.open(yard.ground.store) as store:
        assert store.versions.get(patient, logged["version"]).run_id == trained["run_id"]
    assert "train" not in yard.ground.pods(), "a pod that has succeeded is removed"


@takes_long
def test_what_the_triggerer_waited_for_fails_in_its_own_words(yard: Yard, api: AirflowApi, patient: str):
    refused = fail(api, patient, {"release": False, "config.pause": 25, "config.threshold": 1.5})
    assert list(refused) == ["train"]
    assert "nothing is above that" in refused["train"]
    pod = yard.ground.pods()["train"]
    assert pod.status.phase == "Failed"
    assert pod.metadata.labels["try_number"] == "1", "another try could not help"
    yard.ground.core.delete_namespaced_pod(pod.metadata.name, yard.ground.namespace)


def test_a_param_that_is_no_quantity_is_refused_at_the_trigger(api: AirflowApi, patient: str):
    api.wait_for_dag(patient)
    with pytest.raises(RequestError, match=r"resources.train.memory"):
        api.trigger(patient, {"resources.train.memory": "lots"})
