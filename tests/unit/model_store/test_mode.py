import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from airflow.serialization.serialized_objects import DagSerialization
from tests.unit.model_store.locks import lock, write

from model_store.docker import Containers, DockerStepOperator
from model_store.kubernetes import KubernetesStepOperator
from model_store.local import LocalStepOperator
from model_store.mode import configured_modes, execution, resource_params
from model_store.pipeline import project_dag, rollback_dag
from model_store.projects import LockedProject, find
from model_store.run import PipelineStep
from modelyard.execution.kubernetes import Builder
from modelyard.steps.plan import RESOURCE_PARAMS

PLUGINS = Path(__file__).parents[3] / "plugins"


@pytest.fixture
def kubernetes_mode(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("AIRFLOW__MODELYARD__EXECUTION", "kubernetes")
    return monkeypatch


def test_steps_are_processes_unless_the_configuration_says_otherwise():
    assert configured_modes() == {"local": LocalStepOperator}


def test_steps_are_pods_of_the_configured_cluster(kubernetes_mode: pytest.MonkeyPatch):
    kubernetes_mode.setenv("AIRFLOW__MODELYARD__RUNNER_IMAGE", "registry.example.com/runner:1")
    kubernetes_mode.setenv("AIRFLOW__MODELYARD__NAMESPACE", "team-a")
    with DAG("wine", schedule=None) as dag:
        step = PipelineStep("deploy", lambda _: pytest.fail("not at parsing"), "model_store_default")
        task = configured_modes()["kubernetes"](task_id="deploy", pipeline_step=step)
    assert isinstance(task, KubernetesStepOperator)
    assert (task.namespace, task.image) == ("team-a", "registry.example.com/runner:1")
    assert (task.deferrable, task.do_xcom_push, task.durable) == (False, False, True)
    kept = DagSerialization.to_dict(dag)["dag"]["tasks"][0]["__var"]
    assert kept["_operator_extra_links"] == {"Service": "_link_service", "Model version": "_link_model_version"}


def test_steps_are_containers_of_the_engine(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW__MODELYARD__EXECUTION", "docker")
    with pytest.raises(AirflowException, match=r"execution is 'docker' and runner_image is not set"):
        configured_modes()
    monkeypatch.setenv("AIRFLOW__MODELYARD__RUNNER_IMAGE", "registry.example.com/runner:1")
    monkeypatch.setenv("AIRFLOW__MODELYARD__DOCKER_NETWORK", "models")
    step = PipelineStep("deploy", lambda _: pytest.fail("not at parsing"), "model_store_default")
    task = configured_modes()["docker"](task_id="deploy", pipeline_step=step)
    assert isinstance(task, DockerStepOperator)
    assert task.containers == Containers("registry.example.com/runner:1", 86_400, "models")
    assert resource_params("wine") == RESOURCE_PARAMS


def deploying(**settings: Any) -> KubernetesStepOperator:
    step = PipelineStep("deploy", lambda _: pytest.fail("not at parsing"), "model_store_default", settings)
    task = configured_modes()["kubernetes"](task_id="deploy", pipeline_step=step)
    assert isinstance(task, KubernetesStepOperator)
    return task


@pytest.fixture
def pods(kubernetes_mode: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    kubernetes_mode.setenv("AIRFLOW__MODELYARD__RUNNER_IMAGE", "registry.example.com/runner:1")
    return kubernetes_mode


@pytest.mark.usefixtures("pods")
def test_a_step_that_defers_has_its_lines_live():
    task = deploying(defer=True)
    assert task.deferrable
    assert task.logging_interval == 3


def test_what_the_administrator_says_of_pods(pods: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "pod.yaml").write_text("spec: {tolerations: [{key: batch, operator: Exists}]}")
    pods.setenv("AIRFLOW__MODELYARD__GPU_RESOURCE", "amd.com/gpu")
    pods.setenv("AIRFLOW__MODELYARD__STORE_SECRET", "our-store")
    pods.setenv("AIRFLOW__MODELYARD__FORBID", "env, cpu")
    pods.setenv("AIRFLOW__MODELYARD__BUILDER_IMAGE", "registry.example.com/buildah:1")
    pods.setenv("AIRFLOW__MODELYARD__BUILDER_SECCOMP_PROFILE", "modelyard/builder.json")
    pods.setenv("AIRFLOW__MODELYARD__POD_TEMPLATE", str(tmp_path / "pod.yaml"))
    cluster = deploying().cluster
    assert (cluster.gpu_resource, cluster.store_secret, cluster.forbidden) == (
        "amd.com/gpu",
        "our-store",
        ("env", "cpu"),
    )
    assert cluster.builder == Builder("registry.example.com/buildah:1", "modelyard/builder.json")
    assert cluster.template == {"spec": {"tolerations": [{"key": "batch", "operator": "Exists"}]}}
    assert resource_params("wine") == ("resources.train.memory", "resources.validate.memory")


@pytest.mark.usefixtures("pods")
def test_a_template_that_is_not_there_is_seen_when_dags_are_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW__MODELYARD__POD_TEMPLATE", "/no/such/pod.yaml")
    with pytest.raises(AirflowException, match=r"The pod template /no/such/pod.yaml .* cannot be read"):
        configured_modes()


def test_a_project_that_asks_for_what_is_forbidden_is_a_broken_dag(pods: pytest.MonkeyPatch, tmp_path: Path):
    pods.setenv("AIRFLOW__MODELYARD__FORBID", "cpu")
    (found,) = find([write(tmp_path / "wine", lock())])
    dag = project_dag(found, configured_modes()["kubernetes"])
    assert "broken" in dag.tags
    assert "`steps.train.resources.cpu` of model.yaml is forbidden by the administrator" in str(dag.doc_md)


def test_pods_are_a_matter_of_pods():
    assert resource_params("wine") == ()


def test_the_scheduler_loads_the_pod_operator_before_it_forks_its_workers():
    """Each of them would take seconds for it."""
    code = "import sys, model_store.plugin; assert 'model_store.kubernetes' in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(PLUGINS), "AIRFLOW__MODELYARD__EXECUTION": "kubernetes"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_a_model_may_be_run_in_another_way_than_the_rest(pods: pytest.MonkeyPatch, tmp_path: Path):
    pods.setenv("AIRFLOW__MODELYARD__EXECUTION_OF", "wine: local, houses: kubernetes")
    modes = configured_modes()
    assert list(modes) == ["kubernetes", "local"]
    assert [execution(model) for model in ("wine", "houses", "other")] == ["local", "kubernetes", "kubernetes"]
    assert resource_params("wine") == ()
    projects = list(find([write(tmp_path / name, lock(name)) for name in ("wine", "houses")]))
    dag = rollback_dag([one for one in projects if isinstance(one, LockedProject)], modes, execution)
    assert {task.task_id: type(task) for task in dag.tasks} == {
        "rollback": KubernetesStepOperator,
        "rollback_local": LocalStepOperator,
    }
    of_pods, of_processes = (dag.get_task(name) for name in ("rollback", "rollback_local"))
    assert isinstance(of_pods, KubernetesStepOperator)
    assert isinstance(of_processes, LocalStepOperator)
    assert of_processes.pipeline_step.project_of({"model": "wine"}).name == "wine"
    with pytest.raises(AirflowSkipException, match="'wine' run in another way"):
        of_pods.pipeline_step.project_of({"model": "wine"})
    pods.setenv("AIRFLOW__MODELYARD__EXECUTION_OF", "wine")
    with pytest.raises(AirflowException, match="execution_of has 'wine' without a mode"):
        configured_modes()


def test_pods_need_an_image(kubernetes_mode: pytest.MonkeyPatch):
    with pytest.raises(AirflowException, match="modelyard image runner --push"):
        configured_modes()


def test_an_unknown_mode_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW__MODELYARD__EXECUTION", "mainframe")
    with pytest.raises(AirflowException, match="'mainframe'\n  → set it to 'local', 'docker' or 'kubernetes'"):
        configured_modes()


def test_local_steps_do_not_pay_for_the_pod_operator():
    """Airflow imports what it has providers for by itself; ours must not be among the reasons."""
    code = (
        "import sys; from model_store.mode import configured_modes; configured_modes(); import model_store.pipeline; "
    )
    code += "assert 'airflow.providers.cncf.kubernetes.operators.pod' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(PLUGINS)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
