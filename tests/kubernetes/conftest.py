"""What the tests on a cluster share: the runner image, an Airflow whose steps are pods, and model images."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cosign import as_cosign_keeps_it, key_pair
from tests.fixtures_cluster import TestCluster
from tests.fixtures_machine import LOCAL_FOLDER, REPOSITORY
from tests.kubernetes.administration import apply, kubeconfig, manifests
from tests.kubernetes.api_recorder import Recorder, recording
from tests.kubernetes.ground import CONNECTION, LOGIN, Ground, prepared
from tests.model_images import MODEL, ModelImages, model_images_in
from tests.pipeline.tiny import make_tiny
from tests.yard import commit
from uv import find_uv_bin

from modelyard.demo.machine import Machine
from modelyard.demo.rest import AirflowApi
from modelyard.deployment.kubernetes import KubernetesTarget
from modelyard.deployment.kubernetes.cluster import Cluster
from modelyard.project.write_lock import write_git_entry, write_lock
from modelyard.provider_info import CONNECTION_ID, connections
from modelyard.store import Store, StoreAddress
from modelyard.supply_chain import SigningKey

# Airflow reads its configuration, and writes one, when it is imported.
_airflow_home = tempfile.TemporaryDirectory(prefix="airflow-")  # gone with this process
os.environ["AIRFLOW_HOME"] = _airflow_home.name

ROOT = Path(__file__).parents[2]
ACCOUNT = "modelyard-deployer"
_PRIVATE, PUBLIC = key_pair()
SIGNING = SigningKey(as_cosign_keeps_it(_PRIVATE, "password"), "password")


@pytest.fixture(scope="session")
def model_images(cluster: TestCluster, tmp_path_factory: pytest.TempPathFactory) -> ModelImages:
    """Builds images on a base image and pushes them, each once."""
    registry = f"{cluster.registry}/test-{uuid.uuid4().hex[:12]}"
    return model_images_in(registry, f"{cluster.registry}/library/python:3.11-slim", tmp_path_factory.mktemp("models"))


@pytest.fixture
def target(cluster: TestCluster, namespace: str, model_images: ModelImages) -> KubernetesTarget:
    """The target as the account that deploys, with the rights of docker/kubernetes/environment.yaml and no other."""
    return KubernetesTarget(deployer(cluster, namespace), model_images.images.reference, None)


def deployer(cluster: TestCluster, namespace: str) -> Any:
    """A client with a token of the account, which is in the test's own namespace."""
    from kubernetes import client

    named = {"modelyard": namespace, "airflow": namespace}
    accounts = [one for one in manifests("modelyard.yaml", named) if one["kind"] == "ServiceAccount"]
    apply(cluster, accounts + manifests("environment.yaml", named), namespace)
    core = client.CoreV1Api(cluster.api)
    token = core.create_namespaced_service_account_token(ACCOUNT, namespace, {"spec": {}}).status.token
    settings = client.Configuration()
    settings.host = cluster.api.configuration.host
    settings.ssl_ca_cert = cluster.api.configuration.ssl_ca_cert
    settings.api_key = {"authorization": f"Bearer {token}"}
    return client.ApiClient(settings)


def objects(cluster: TestCluster, namespace: str) -> dict[str, Any]:
    """Return all that a service is made of, by kind."""
    from kubernetes import client

    core, apps = client.CoreV1Api(cluster.api), client.AppsV1Api(cluster.api)
    return {
        "Deployment": apps.list_namespaced_deployment(namespace).items,
        "Pod": core.list_namespaced_pod(namespace).items,
        "Service": core.list_namespaced_service(namespace).items,
        "NetworkPolicy": client.NetworkingV1Api(cluster.api).list_namespaced_network_policy(namespace).items,
        "PodDisruptionBudget": client.PolicyV1Api(cluster.api).list_namespaced_pod_disruption_budget(namespace).items,
        "ServiceAccount": [
            account
            for account in core.list_namespaced_service_account(namespace).items
            if account.metadata.name == MODEL
        ],
    }


@pytest.fixture(scope="session")
def building_runner(pytestconfig: pytest.Config) -> dict[str, str]:
    """The environment to build the runner image in: its packages are packed once for all processes and sessions.

    That takes half a minute, and is done afresh in tests/integration/images/test_runner_image.py.
    """
    assert pytestconfig.cache is not None
    fetched = subprocess.check_output([find_uv_bin(), "cache", "dir"], text=True).strip()
    home = pytestconfig.cache.mkdir("modelyard-runner")
    return {**os.environ, "MODELYARD_HOME": str(home), "MODELYARD_REGISTRY_INSECURE": "true", "UV_CACHE_DIR": fetched}


@pytest.fixture(scope="session")
def runner_image(cluster: TestCluster, building_runner: dict[str, str]) -> str:
    """This very Modelyard as an image; its name has its digest."""
    reference = f"{cluster.registry}/tests/runner:1"
    command = [str(Path(sys.executable).parent / "modelyard"), "image", "runner", "--push", reference]
    command += ["--base", f"{cluster.registry}/library/python:3.11-slim"]
    return subprocess.run(command, env=building_runner, check=True, stdout=-1, text=True).stdout.strip()


@pytest.fixture(scope="package")
def ground(
    cluster: TestCluster, runner_image: str, mongo_uri: str, s3_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    with prepared(cluster, mongo_uri, s3_server, runner_image, tmp_path_factory.mktemp("ground")) as ground:
        yield ground


@pytest.fixture(scope="package")
def tiny(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest project, at the Git server, to be deployed to the cluster."""
    home = tmp_path_factory.mktemp("tiny")
    folder = make_tiny(ground.repositories / "tiny", home)
    with (folder / "model.yaml").open("a") as model_yaml:
        yaml.safe_dump({"deployment": {"environments": {"production": ground.target}}}, model_yaml)
    write_lock(folder, home, print)
    commit(folder)
    return folder


@pytest.fixture
def store(ground: Ground) -> Iterator[Store]:
    """The ground's store, open."""
    with Store.open(ground.store) as store:
        yield store


@dataclass
class Yard:
    """An Airflow on this machine whose steps are pods of a namespace that nobody else has.

    In the cluster it is the official Helm chart's worker, with the rights of docker/kubernetes.

    Attributes:
        projects: the folder with its git-projects.json.
        dags: a folder of DAG files that are none of Modelyard's.
        recorder: knows what it asked the cluster.
        token: of the account by which it asks.
    """

    machine: Machine
    ground: Ground
    projects: Path
    dags: Path
    recorder: Recorder
    token: str

    @property
    def credentials(self) -> dict[str, str]:
        """Every credential that a run uses, by what it opens."""
        return {**self.ground.credentials, "cluster": self.token, "signing": SIGNING.pem.splitlines()[1]}

    def ask(self, body: dict[str, Any], model: str = "tiny") -> Any:
        """Ask a model's service, by way of the API server."""
        cluster = Cluster(self.ground.core.api_client)
        _, _, answer = cluster.ask_service(self.ground.namespace, model, "http", "POST", "/predict", body)
        return json.loads(answer)


@pytest.fixture(scope="package")
def yard(cluster: TestCluster, ground: Ground, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    folder = tmp_path_factory.mktemp("yard")
    projects = folder / "projects"
    projects.mkdir()
    write_git_entry(projects, ground.source(tiny.name), CONNECTION, LOGIN)
    dags = folder / "dags"
    dags.mkdir()
    bundles = [
        {"name": "modelyard", "classpath": LOCAL_FOLDER, "kwargs": {"path": str(REPOSITORY / "dags")}},
        {"name": "own", "classpath": LOCAL_FOLDER, "kwargs": {"path": str(dags), "refresh_interval": 2}},
    ]
    settings = {
        "core": {"dagbag_import_timeout": "120"},  # the operator's first import, on a busy machine
        "dag_processor": {"dag_bundle_config_list": json.dumps(bundles), "min_file_process_interval": "2"},
        # A worker or scheduler that is gone is found sooner than anybody in production would want it.
        "scheduler": {
            "task_instance_heartbeat_timeout": "20",
            "task_instance_heartbeat_timeout_detection_interval": "2",
            "scheduler_health_check_threshold": "10",
            "orphaned_tasks_check_interval": "5",
        },
        "modelyard": {
            "execution": "kubernetes",
            "namespace": ground.namespace,
            "runner_image": ground.runner_image,
        },
    }
    configuration = cluster.api.configuration
    with ExitStack() as stack:
        recorder = stack.enter_context(recording(configuration.host, configuration.ssl_ca_cert))
        worker = kubeconfig(cluster, folder / "worker.kubeconfig", recorder.url, "airflow-worker", ground.airflow)
        environment = os.environ | {"KUBECONFIG": str(worker)}
        machine = Machine(folder / "home", REPOSITORY, [projects], environment, store=ground.store, settings=settings)
        stack.callback(machine.stop, print)
        machine.start(print)
        with machine.api() as api:
            api.put_connection(CONNECTION, {"conn_type": "git", "login": LOGIN.username, "password": LOGIN.token})
            _sign(api, ground.store)
        (user,) = yaml.safe_load(worker.read_text())["users"]
        yield Yard(machine, ground, projects, dags, recorder, user["user"]["token"])


def _sign(api: AirflowApi, store: StoreAddress) -> None:
    """Have images signed, and nothing live that is not."""
    of_the_key = {"conn_type": "generic", "password": SIGNING.password, "extra": {"private_key": SIGNING.pem}}
    api.put_connection("model_store_signing", of_the_key)
    of_the_store = json.loads(connections(replace(store, verification_key=PUBLIC))[CONNECTION_ID])
    of_the_store["extra"]["signing_conn_id"] = "model_store_signing"
    api.put_connection(CONNECTION_ID, of_the_store)


@pytest.fixture
def api(yard: Yard) -> Iterator[AirflowApi]:
    with yard.machine.api() as api:
        yield api
