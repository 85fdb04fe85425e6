"""The Roles of the account that deploys and of the triggerer, beside what each of them asks of a real cluster."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger
from airflow.triggers.base import TriggerEvent
from kubernetes import client
from tests.fixtures_cluster import TestCluster
from tests.kubernetes.administration import apply_rights, kubeconfig, manifests
from tests.kubernetes.api_recorder import recording
from tests.kubernetes.conftest import deployer
from tests.model_images import MODEL, ModelImages
from tests.processes import wait_until

from modelyard.deployment import Autoscaling, Ingress
from modelyard.deployment.kubernetes import KubernetesTarget
from modelyard.errors import DeploymentFailed

pytestmark = pytest.mark.slow


def granted(file: str, name: str) -> set[tuple[str, str]]:
    """Return verb and resource of all that a Role of docker/kubernetes gives."""
    found = manifests(file, {"modelyard": "", "airflow": ""})
    (role,) = (one for one in found if one["kind"] == "Role" and one["metadata"]["name"] == name)
    return {(verb, what) for rule in role["rules"] for what in rule["resources"] for verb in rule["verbs"]}


def test_the_deployer_has_just_what_a_services_life_asks_for(
    cluster: TestCluster, namespace: str, model_images: ModelImages
) -> None:
    settings = cluster.api.configuration
    with recording(settings.host, settings.ssl_ca_cert) as recorder:
        api = deployer(cluster, namespace)
        api.configuration.host = recorder.url
        target = KubernetesTarget(api, model_images.images.reference, None)
        scaled: dict[str, Any] = {"cpu": "50m", "autoscaling": Autoscaling(max_replicas=2, cpu=50)}
        target.deploy(model_images.spec(namespace, 1, ingress=Ingress("times.example.com"), **scaled), print)
        target.deploy(model_images.spec(namespace, 2), print)
        with pytest.raises(DeploymentFailed, match="disk on fire"):
            target.deploy(model_images.spec(namespace, 3, as_it_loads="raise OSError('disk on fire')"), print)
        target.remove(MODEL, namespace)
    assert recorder.seen == granted("environment.yaml", "modelyard-deployer")


def test_the_triggerer_has_just_what_its_waiting_and_its_ending_ask_for(
    cluster: TestCluster, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = client.CoreV1Api(cluster.api)
    apply_rights(cluster, namespace, namespace)
    settings = cluster.api.configuration
    with recording(settings.host, settings.ssl_ca_cert) as recorder:
        file = kubeconfig(cluster, tmp_path / "kubeconfig", recorder.url, "airflow-triggerer", namespace)
        connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(file)}}
        monkeypatch.setenv("AIRFLOW_CONN_THERE", json.dumps(connection))
        core.create_namespaced_pod(namespace, pod(cluster, "ends", 15))
        assert asyncio.run(event(trigger("ends", namespace))).payload["status"] == "success"
        core.create_namespaced_pod(namespace, pod(cluster, "goes-on", 3600))
        asyncio.run(trigger("goes-on", namespace).on_kill())
    wait_until(lambda: [one.metadata.name for one in core.list_namespaced_pod(namespace).items] == ["ends"], "its end")
    assert recorder.seen == granted("modelyard.yaml", "modelyard-triggerer")


def trigger(name: str, namespace: str) -> KubernetesPodTrigger:
    """What the operator leaves to the triggerer, quicker."""
    return KubernetesPodTrigger(
        pod_name=name,
        pod_namespace=namespace,
        trigger_start_time=datetime.now(UTC),
        base_container_name="base",
        kubernetes_conn_id="there",
        poll_interval=0.5,
        startup_check_interval=0.5,
        logging_interval=1,
        log_events_on_startup=False,
    )


async def event(waiting: KubernetesPodTrigger) -> TriggerEvent:
    """Return what it tells at last."""
    async for told in waiting.run():
        return told
    raise AssertionError("nothing was told")


def pod(cluster: TestCluster, name: str, seconds: int) -> dict[str, Any]:
    """A pod that speaks, and ends after a while."""
    speaking = f"import time; [print(n, flush=True) or time.sleep(.1) for n in range({seconds}0)]"
    container = {
        "name": "base",
        "image": f"{cluster.registry}/library/python:3.11-slim",
        "command": ["python", "-c", speaking],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    spec = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 0}
    return {"metadata": {"name": name}, "spec": spec}
