"""Airflow on this machine, every step a pod of a real cluster."""

from __future__ import annotations

import json
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
import yaml
from tests.fixtures_machine import LOCAL_FOLDER, REPOSITORY, fail, succeed, wait_until
from tests.forwarding import forwarded
from tests.git_server import serving_git
from tests.pipeline.tiny import make_tiny
from tests.yard import commit

from modelyard.demo.machine import Machine
from modelyard.demo.rest import AirflowApi
from modelyard.deployment.kubernetes.cluster import Cluster
from modelyard.project.write_lock import write_git_entry, write_lock
from modelyard.sources import Credentials
from modelyard.store import Store, StoreAddress

LOGIN = Credentials("robot", "a-token-that-no-log-may-show")
CONNECTION = "tiny_git"


@dataclass
class Yard:
    """An Airflow on this machine whose steps are pods of a namespace that nobody else has.

    Attributes:
        core: the cluster's API.
        store: the model store, at addresses that pods reach.
    """

    machine: Machine
    core: Any
    namespace: str
    store: StoreAddress

    def pods(self) -> dict[str, Any]:
        """Return the pods that are there, by step."""
        found = self.core.list_namespaced_pod(self.namespace, label_selector="modelyard.io/step").items
        return {pod.metadata.labels["modelyard.io/step"]: pod for pod in found}

    def ask(self, body: dict[str, Any]) -> Any:
        """Ask the service, by way of the API server."""
        _, _, answer = Cluster(self.core.api_client).ask_service(
            self.namespace, "tiny", "http", "POST", "/predict", body
        )
        return json.loads(answer)

    @property
    def credentials(self) -> list[str]:
        """Every credential that a step uses."""
        return [str(urlsplit(self.store.mongo_uri).password), str(self.store.s3_secret_key), LOGIN.token]


class Manifests:
    """Every manifest of a namespace's pods, looked at again and again while this is entered."""

    def __init__(self, yard: Yard) -> None:
        self.seen: dict[str, str] = {}
        self._yard = yard
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.3):
            for step, pod in self._yard.pods().items():
                self.seen[step] = str(pod)


def apply_rights(cluster: Any, namespace: str) -> None:
    """Make the accounts of the steps and of the deployer, with the rights of docker/kubernetes, in one namespace."""
    from kubernetes import client

    core, rbac = client.CoreV1Api(cluster.api), client.RbacAuthorizationV1Api(cluster.api)
    _, *accounts = yaml.safe_load_all((REPOSITORY / "docker" / "kubernetes" / "modelyard.yaml").read_text())
    for account in accounts:
        account["metadata"]["namespace"] = namespace
        core.create_namespaced_service_account(namespace, account)
    role, binding = yaml.safe_load_all((REPOSITORY / "docker" / "kubernetes" / "environment.yaml").read_text())
    binding["subjects"][0]["namespace"] = namespace
    rbac.create_namespaced_role(namespace, role)
    rbac.create_namespaced_role_binding(namespace, binding)


@pytest.fixture(scope="module")
def yard(
    cluster: Any, runner_image: str, mongo_uri: str, s3_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Yard]:
    from kubernetes import client

    folder = tmp_path_factory.mktemp("pods")
    core = client.CoreV1Api(cluster.api)
    name = f"test-{uuid.uuid4().hex[:12]}"
    with ExitStack() as stack:
        core.create_namespace(
            {"metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
        )
        stack.callback(core.delete_namespace, name)
        apply_rights(cluster, name)

        def reachable(url: str) -> str:
            parts = urlsplit(url)
            there = stack.enter_context(forwarded(cluster.node_ip, (str(parts.hostname), int(parts.port or 0))))
            return url.replace(f"{parts.hostname}:{parts.port}", there)

        s3 = replace(s3_server, bucket=name)
        s3.client().create_bucket(Bucket=name)
        store = replace(s3, endpoint_url=reachable(s3.endpoint_url)).address(
            "artifacts",
            mongo_uri=f"{reachable(mongo_uri)}&directConnection=true",  # it names itself by its loopback address
            database=name,
            registry=f"{cluster.registry}/{name}",
            registry_insecure=True,
            base_image=f"{cluster.registry}/library/python:3.11-slim",
            installation=name,
        )
        login = Credentials(LOGIN.username, LOGIN.token)
        git = reachable(stack.enter_context(serving_git(folder, login)))
        (folder / "projects").mkdir()
        tiny = make_tiny(folder / "tiny", folder / "home")
        production = {"target": "kubernetes", "namespace": name}
        with (tiny / "model.yaml").open("a") as model_yaml:
            yaml.safe_dump({"deployment": {"environments": {"production": production}}}, model_yaml)
        write_lock(tiny, folder / "home", print)
        commit(tiny)
        source = {"git": f"{git}/tiny/.git", "ref": None, "subfolder": ""}
        write_git_entry(folder / "projects", source, CONNECTION, login)

        bundles = [{"name": "modelyard", "classpath": LOCAL_FOLDER, "kwargs": {"path": str(REPOSITORY / "dags")}}]
        settings = {
            "core": {"dagbag_import_timeout": "120"},  # the operator's first import, on a busy machine
            "dag_processor": {"dag_bundle_config_list": json.dumps(bundles)},
            "modelyard": {"execution": "kubernetes", "namespace": name, "runner_image": runner_image},
        }
        machine = Machine(
            folder / "home", REPOSITORY, [folder / "projects"], os.environ, store=store, settings=settings
        )
        stack.callback(machine.stop, print)
        machine.start(print)
        with machine.api() as api:
            api.put_connection(CONNECTION, {"conn_type": "git", "login": LOGIN.username, "password": LOGIN.token})
        yield Yard(machine, core, name, store)


@pytest.fixture
def api(yard: Yard) -> Iterator[AirflowApi]:
    with yard.machine.api() as api:
        yield api


def shown(api: AirflowApi, run: str) -> str:
    """Return all logs and XComs of a run of the project."""
    found: list[Any] = []
    for task in api.tasks("tiny", run):
        found += [api.log("tiny", run, task.task_id, number) for number in range(1, task.try_number + 1)]
        path = f"/dags/tiny/dagRuns/{run}/taskInstances/{task.task_id}"
        found.append(api.get(path))
        for entry in api.get(f"{path}/xcomEntries")["xcom_entries"]:
            found.append([entry["key"], api.xcom("tiny", run, task.task_id, entry["key"])])
    return json.dumps(found)


def test_a_candidate_is_trained_in_pods_that_show_no_credential(yard: Yard, api: AirflowApi):
    with Manifests(yard) as manifests:
        run = succeed(api, "tiny", {"release": False})
    assert {task.task_id: task.try_number for task in api.tasks("tiny", run) if task.state == "success"} == {
        "prepare": 1,
        "train": 1,
        "log_to_sacred": 1,
    }
    with Store.open(yard.store) as store:
        version = store.versions.get("tiny", api.xcom("tiny", run, "log_to_sacred")["version"])
        assert store.runs.get(version.run_id)["status"] == "COMPLETED"
        assert not version.dirty
    lines = [record["event"] for record in api.log("tiny", run, "prepare", 1)]
    assert f"Project at {version.commit}" in lines
    assert yard.pods() == {}, "a pod that has succeeded is removed"

    everything = shown(api, run) + str(manifests.seen)
    assert set(manifests.seen) == {"prepare", "train", "log_to_sacred"}
    assert str(version.commit) in everything
    for credential in yard.credentials:
        assert credential not in everything


def test_a_refusal_is_told_in_the_steps_own_words_and_its_pod_is_kept(yard: Yard, api: AirflowApi):
    refused = fail(api, "tiny", {"config.treshold": 0.4})
    assert list(refused) == ["prepare"]
    assert "keys that this model does not know: config.treshold" in refused["prepare"]
    pod = yard.pods()["prepare"]
    assert pod.status.phase == "Failed"
    assert pod.metadata.labels["try_number"] == "1"
    yard.core.delete_namespaced_pod(pod.metadata.name, yard.namespace)


def test_a_pod_outlives_its_worker_and_is_taken_up_again(yard: Yard, api: AirflowApi):
    api.wait_for_dag("tiny")
    run = api.trigger("tiny", {"release": False, "config.pause": 20})

    def training() -> Any:
        pod = yard.pods().get("train")
        return pod if pod is not None and pod.status.phase == "Running" else None

    before = wait_until(training, 300, "a training pod")
    task = api.get(f"/dags/tiny/dagRuns/{run}/taskInstances/train")
    os.kill(task["pid"], signal.SIGKILL)
    last: list[Any] = []

    def taken_up() -> bool:
        last[:] = [pod for step, pod in yard.pods().items() if step == "train"] or last
        return api.run("tiny", run)["state"] in ("success", "failed")

    wait_until(taken_up, 300, "the end of the run")
    assert api.run("tiny", run)["state"] == "success", shown(api, run)
    assert last[0].metadata.uid == before.metadata.uid
    assert last[0].status.container_statuses[0].restart_count == 0
    tries = {one.task_id: one.try_number for one in api.tasks("tiny", run)}
    assert tries["train"] == 2
    with Store.open(yard.store) as store:
        runs = store.mongo[yard.store.database]["runs"]
        pipeline_run = last[0].metadata.annotations["modelyard.io/pipeline-run"]
        found = runs.find({"meta.modelyard.pipeline_run": pipeline_run})
        assert [document["status"] for document in found] == ["COMPLETED"]


def test_the_whole_line_ends_in_a_service_that_answers(yard: Yard, api: AirflowApi):
    with Manifests(yard) as manifests:
        runs = [succeed(api, "tiny", {"config.threshold": threshold}) for threshold in (0.5, 0.4)]
    deployed = api.xcom("tiny", runs[-1], "deploy")
    answer = yard.ask({"rows": [{"x": 0.45}]})
    assert answer["predictions"] == [{"prediction": "high"}]
    assert answer["model_version"] == str(deployed["version"])
    tested = api.xcom("tiny", runs[-1], "test_image")
    assert tested["image_digest"] == deployed["image_digest"]
    assert f"/tiny@{tested['image_digest']}" in manifests.seen["test_image"]
    assert "beside-production" in manifests.seen["validate"]
    everything = "".join(shown(api, run) for run in runs) + str(manifests.seen)
    for credential in yard.credentials:
        assert credential not in everything
