"""Runs that are cancelled, that take too long, whose worker is gone, or that a newer one overtakes: what they leave.

That is no pod that runs, no Secret but one a connection, no Deployment that is half made; what was live serves.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import AirflowException
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from tests.fixtures_machine import wait_until
from tests.kubernetes.conftest import Yard
from tests.kubernetes.ground import CONNECTION, LOGIN
from tests.kubernetes.stepping import altered

from model_store.kubernetes import _TRY, Cluster, KubernetesStepOperator
from model_store.projects import LockedProject
from model_store.run import PipelineStep
from modelyard.demo.rest import ENDED, AirflowApi
from modelyard.demo.show import failures
from modelyard.execution import Command
from modelyard.execution.kubernetes import Secrets, step_pod
from modelyard.execution.secrets import secret_name
from modelyard.project.write_lock import write_git_entry
from modelyard.provider_info import CONNECTION_ID
from modelyard.store import Store, pipeline_run_id

# Well beside a step; deployed, a version of a high threshold is never ready.
_STUCK = """\
import os
import time


def load(folder):
    if "MODELYARD_RUN_ID" in os.environ and float((folder / "threshold").read_text()) > 0.8:
        time.sleep(600)
"""
STUCK, WELL = {"config.threshold": 0.9}, {"config.threshold": 0.5}

# A DAG whose training Airflow itself gives up, and whose deployment, and training, the cluster does.
_IMPATIENT = """\
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from model_store.mode import configured_mode
from model_store.pipeline import project_dag
from model_store.projects import find

(project,) = find([Path({folder!r})])
dag = project_dag(project, configured_mode())
dag.get_task("train").execution_timeout = timedelta(seconds=20)
for step, seconds in {{"train": 40, "deploy": 20}}.items():
    task = dag.get_task(step)
    task.cluster = replace(task.cluster, deadline_seconds=seconds)
"""


def project(yard: Yard, name: str, home: Path, projects: Path) -> str:
    """Enter a project of which some versions are never ready; no try of a step is followed by another."""
    deployment = {"environments": {"production": yard.ground.target}}
    altered(
        yard.ground,
        name,
        home,
        {"predict.py": ("def load(folder):\n", _STUCK)},
        yaml.safe_dump({"deployment": deployment, "retries": 0}),
    )
    return write_git_entry(projects, yard.ground.source(name), CONNECTION, LOGIN)


@pytest.fixture(scope="module")
def impatient(yard: Yard, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("impatient-projects")
    name = project(yard, "impatient", tmp_path_factory.mktemp("impatient"), folder)
    (yard.dags / "impatient.py").write_text(_IMPATIENT.format(folder=str(folder)))
    return name


@pytest.fixture(scope="module")
def wavering(yard: Yard, tmp_path_factory: pytest.TempPathFactory) -> str:
    return project(yard, "wavering", tmp_path_factory.mktemp("wavering"), yard.projects)


@pytest.fixture(autouse=True)
def nothing_left(yard: Yard) -> Iterator[None]:
    """After each test no pod of a step runs, and there is no Secret more but one for each connection."""
    core, namespace = yard.ground.core, yard.ground.namespace

    def secrets() -> set[str]:
        return {secret.metadata.name for secret in core.list_namespaced_secret(namespace).items}

    before = secrets()
    yield
    wait_until(lambda: not any(alive(pod) for pod in step_pods(yard)), 60, "the end of every pod")
    connections = (CONNECTION_ID, CONNECTION)
    assert secrets() - before <= {secret_name(one, yard.ground.store.installation) for one in connections}
    for pod in step_pods(yard):
        core.delete_namespaced_pod(pod.metadata.name, namespace)


def step_pods(yard: Yard) -> list[Any]:
    found = yard.ground.core.list_namespaced_pod(yard.ground.namespace, label_selector="modelyard.io/step")
    return list(found.items)


def alive(pod: Any) -> bool:
    return pod.status.phase not in ("Succeeded", "Failed")


def running(yard: Yard, dag_id: str, run: str, step: str) -> Any:
    """Return the pod of a step once it runs."""
    key = pipeline_run_id(yard.ground.store.installation, dag_id, run)[:16]

    def found() -> Any:
        pods = [pod for pod in step_pods(yard) if pod.metadata.labels["modelyard.io/pipeline-run"] == key]
        here = [pod for pod in pods if pod.metadata.labels["modelyard.io/step"] == step]
        return next((pod for pod in here if pod.status.phase == "Running"), None)

    return wait_until(found, 180, f"a pod of {step}")


def rolling_out(yard: Yard, model: str) -> str | None:
    """Return the version that a model's Deployment is to run; None where there is no Deployment."""
    apps = client.AppsV1Api(yard.ground.core.api_client)
    with suppress(ApiException):
        found = apps.read_namespaced_deployment(model, yard.ground.namespace)
        return str(found.metadata.annotations["modelyard.io/version"])
    return None


def companions(yard: Yard, model: str) -> list[str]:
    """Return what a Deployment of a model has beside it, and its pods."""
    found = [
        *client.AppsV1Api(yard.ground.core.api_client).list_namespaced_deployment(yard.ground.namespace).items,
        *client.NetworkingV1Api(yard.ground.core.api_client)
        .list_namespaced_network_policy(yard.ground.namespace)
        .items,
        *client.PolicyV1Api(yard.ground.core.api_client)
        .list_namespaced_pod_disruption_budget(yard.ground.namespace)
        .items,
        *yard.ground.core.list_namespaced_service(yard.ground.namespace).items,
        *yard.ground.core.list_namespaced_pod(yard.ground.namespace).items,
    ]
    return [one.metadata.name for one in found if one.metadata.name.startswith(model)]


def cancel(api: AirflowApi, dag_id: str, run: str) -> None:
    """Do as a person who marks a run failed."""
    api.patch(f"/dags/{dag_id}/dagRuns/{run}", {"state": "failed"})


def recorded(yard: Yard, dag_id: str, run: str) -> list[str]:
    """Return the states of the Sacred runs of a pipeline run."""
    key = pipeline_run_id(yard.ground.store.installation, dag_id, run)
    with Store.open(yard.ground.store) as store:
        runs = store.mongo[yard.ground.store.database]["runs"].find({"meta.modelyard.pipeline_run": key})
        return [document["status"] for document in runs]


def test_a_run_that_is_cancelled_ends_its_training(yard: Yard, api: AirflowApi) -> None:
    api.wait_for_dag("tiny")
    run = api.trigger("tiny", {"config.pause": 300})
    running(yard, "tiny", run, "train")
    wait_until(lambda: recorded(yard, "tiny", run) == ["RUNNING"], 60, "a training")
    cancel(api, "tiny", run)
    wait_until(lambda: not any(alive(pod) for pod in step_pods(yard)), 60, "the end of its pod")
    assert recorded(yard, "tiny", run) == ["INTERRUPTED"]


def test_of_two_runs_at_once_the_later_one_is_deployed_and_a_cancelled_one_changes_nothing(
    yard: Yard, api: AirflowApi, wavering: str
) -> None:
    api.wait_for_dag(wavering)
    older = api.trigger(wavering, STUCK)
    running(yard, wavering, older, "prepare")
    newer = api.trigger(wavering, WELL)
    assert api.wait(wavering, newer) == "success", failures(api, wavering, newer)
    assert api.wait(wavering, older) == "failed"
    (error,) = failures(api, wavering, older).items()
    assert error[0] == "deploy"
    assert "has taken over" in error[1]
    live = str(api.xcom(wavering, newer, "deploy")["version"])
    assert yard.ask({"rows": [{"x": 0.6}]}, wavering)["model_version"] == live

    stuck = api.xcom(wavering, older, "log_to_sacred")["version"]
    run = api.trigger(wavering, {"version": stuck})
    wait_until(lambda: rolling_out(yard, wavering) == str(stuck), 180, "the roll-out")
    path = f"/dags/{wavering}/dagRuns/{run}/taskInstances/deploy"
    api.patch(path, {"new_state": "failed"})
    wait_until(lambda: rolling_out(yard, wavering) == live, 60, "what was live, put back")
    assert api.wait(wavering, run) == "failed"
    assert yard.ask({"rows": [{"x": 0.6}]}, wavering)["model_version"] == live
    with Store.open(yard.ground.store) as store:
        alias = store.aliases.get(wavering, "production")
        assert alias is not None
        assert str(alias.version) == live
        history = [(str(one.version), one.state) for one in store.deployments.history(wavering, "production")]
    assert history == [(str(stuck), "failed"), (live, "live"), (str(stuck), "superseded")]


def test_what_takes_too_long_or_has_lost_its_worker_is_ended(yard: Yard, api: AirflowApi, impatient: str) -> None:
    api.wait_for_dag(impatient)
    deploying, training, orphaned = (
        api.trigger(impatient, conf) for conf in (STUCK, {"config.pause": 300}, {"config.pause": 300})
    )
    running(yard, impatient, orphaned, "train")
    task = api.get(f"/dags/{impatient}/dagRuns/{orphaned}/taskInstances/train")["pid"]
    worker = int(Path(f"/proc/{task}/stat").read_text().rpartition(")")[2].split()[1])
    for process in (worker, task):
        os.kill(process, signal.SIGKILL)
    told = {}
    for run in (deploying, training, orphaned):
        assert api.wait(impatient, run, seconds=180) in ENDED
        told[run] = failures(api, impatient, run)
    assert [list(told[run]) for run in (deploying, training, orphaned)] == [["deploy"], ["train"], ["train"]]
    assert "DeadlineExceeded" in told[deploying]["deploy"]
    wait_until(lambda: companions(yard, impatient) == [], 60, "nothing left of a first version")
    wait_until(lambda: recorded(yard, impatient, training) == ["INTERRUPTED"], 60, "the end of its record")


@pytest.mark.parametrize("moment", ["before its pod is made", "while its pod is made"])
def test_a_task_that_is_cancelled_early_leaves_no_pod(yard: Yard, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    kubernetes = {"conn_type": "kubernetes", "extra": {"kube_config_path": os.environ["KUBECONFIG"]}}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(kubernetes))
    operator = KubernetesStepOperator(
        task_id="train",
        pipeline_step=PipelineStep("train", lambda _: LockedProject("early", {}, [], {}), CONNECTION_ID),
        cluster=Cluster("kubernetes_default", yard.ground.namespace, yard.ground.runner_image, 60),
    )
    create = operator.pod_manager.create_pod
    made = []

    def cancelled(pod: Any) -> Any:
        operator.on_kill()
        made.append(create(pod))
        return made[-1]

    if moment == "while its pod is made":
        monkeypatch.setattr(operator.pod_manager, "create_pod", cancelled)
    else:
        operator.on_kill()
    manifest = step_pod(
        Command("train", "early" * 10),
        runner_image=yard.ground.runner_image,
        secrets=Secrets("not-there"),
        images_beside={},
        deadline_seconds=60,
    )
    manifest["metadata"] |= {"namespace": yard.ground.namespace, "annotations": {_TRY: operator._try}}
    ti = SimpleNamespace(dag_id="early", task_id="train", run_id="run", map_index=-1, try_number=1)
    context: Any = {"ti": ti, "run_id": "run", "dag": None}
    pod = operator.client.api_client.deserialize(SimpleNamespace(data=json.dumps(manifest)), "V1Pod")
    with pytest.raises(AirflowException, match="was stopped before it began"):
        operator.get_or_create_pod(pod, context)
    assert len(made) == (moment == "while its pod is made")
    wait_until(lambda: not step_pods(yard), 30, "the pod's end")
