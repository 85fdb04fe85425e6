import os
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException
from airflow.serialization.serialized_objects import DagSerialization

from model_store.kubernetes import KubernetesStepOperator
from model_store.local import LocalStepOperator
from model_store.mode import configured_mode
from model_store.run import PipelineStep

PLUGINS = Path(__file__).parents[3] / "plugins"


@pytest.fixture
def kubernetes_mode(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("AIRFLOW__MODELYARD__EXECUTION", "kubernetes")
    return monkeypatch


def test_steps_are_processes_unless_the_configuration_says_otherwise():
    assert configured_mode() is LocalStepOperator


def test_steps_are_pods_of_the_configured_cluster(kubernetes_mode: pytest.MonkeyPatch):
    kubernetes_mode.setenv("AIRFLOW__MODELYARD__RUNNER_IMAGE", "registry.example.com/runner:1")
    kubernetes_mode.setenv("AIRFLOW__MODELYARD__NAMESPACE", "team-a")
    with DAG("wine", schedule=None) as dag:
        step = PipelineStep("deploy", lambda _: pytest.fail("not at parsing"), "model_store_default")
        task = configured_mode()(task_id="deploy", pipeline_step=step)
    assert isinstance(task, KubernetesStepOperator)
    assert (task.namespace, task.image) == ("team-a", "registry.example.com/runner:1")
    assert (task.deferrable, task.do_xcom_push, task.durable) == (False, False, True)
    kept = DagSerialization.to_dict(dag)["dag"]["tasks"][0]["__var"]
    assert kept["_operator_extra_links"] == {"Service": "_link_service", "Model version": "_link_model_version"}


def test_pods_need_an_image(kubernetes_mode: pytest.MonkeyPatch):
    with pytest.raises(AirflowException, match="modelyard image runner --push"):
        configured_mode()


def test_an_unknown_mode_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW__MODELYARD__EXECUTION", "mainframe")
    with pytest.raises(AirflowException, match="'mainframe'\n  → set it to 'local' or 'kubernetes'"):
        configured_mode()


def test_local_steps_do_not_pay_for_the_pod_operator():
    """Airflow imports what it has providers for by itself; ours must not be among the reasons."""
    code = "import sys; from model_store.mode import configured_mode; configured_mode(); import model_store.pipeline; "
    code += "assert 'airflow.providers.cncf.kubernetes.operators.pod' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(PLUGINS)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
