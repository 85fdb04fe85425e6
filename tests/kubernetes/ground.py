"""What pods of a test work with: a namespace, a model store and a Git server at addresses that they reach."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from kubernetes.client.exceptions import ApiException
from tests.fixtures_cluster import TestCluster
from tests.forwarding import forwarded
from tests.git_server import serving_git
from tests.kubernetes.administration import apply_rights
from tests.kubernetes.names import named
from tests.searching import Place, made_up

from modelyard.sources import Credentials
from modelyard.store import StoreAddress

LOGIN = Credentials("robot", made_up("git"))
CONNECTION = "projects_git"


@dataclass
class Ground:
    """A namespace that nobody else has, with the accounts and rights of docker/kubernetes alone.

    Attributes:
        core: the cluster's API.
        airflow: another namespace, of Airflow's accounts.
        store: the model store, at addresses that pods reach.
        repositories: the folder of the Git server's repositories.
        git: the Git server's address.
        runner_image: of the steps.
        behind: database and artifacts as they are called on this machine.
    """

    core: Any
    namespace: str
    airflow: str
    store: StoreAddress
    repositories: Path
    git: str
    runner_image: str
    behind: dict[str, str]

    def pods(self, pipeline_run: str | None = None) -> dict[str, Any]:
        """Return the pods that are there, by step; of one run, as the one before may still be taking its own away."""
        selector = "modelyard.io/step"
        if pipeline_run is not None:
            selector += f",modelyard.io/pipeline-run={pipeline_run[:16]}"
        found = self.core.list_namespaced_pod(self.namespace, label_selector=selector).items
        return {pod.metadata.labels["modelyard.io/step"]: pod for pod in found}

    @property
    def target(self) -> dict[str, str]:
        """What model.yaml says of an environment that is this namespace."""
        return {"target": "kubernetes", "namespace": self.namespace}

    def source(self, project: str) -> dict[str, Any]:
        """Return what names a project of the Git server."""
        return {"git": f"{self.git}/{project}/.git", "ref": None, "subfolder": ""}

    @property
    def credentials(self) -> dict[str, str]:
        """Every credential that a step uses, by what it opens."""
        return {
            "database": unquote(str(urlsplit(self.store.mongo_uri).password)),
            "artifacts": str(self.store.s3_secret_key),
            "registry": str(self.store.registry_password),
            "repository": LOGIN.token,
        }

    def manifests(self) -> Iterator[Place]:
        """Yield each pod that is there as the API server shows it, a step's under the step's name."""
        answer = self.core.list_namespaced_pod(self.namespace, _preload_content=False)
        for pod in json.loads(answer.data)["items"]:
            yield pod["metadata"]["labels"].get("modelyard.io/step", "service"), json.dumps(pod).encode()

    def objects(self) -> Iterator[Place]:
        """Yield all objects of every kind in both namespaces, but for Secrets."""

        def get(path: str) -> Any:
            options = {"auth_settings": ["BearerToken"], "_return_http_data_only": True, "_preload_content": False}
            return json.loads(self.core.api_client.call_api(path, "GET", **options).data)

        groups = [group["preferredVersion"]["groupVersion"] for group in get("/apis")["groups"]]
        for root in ("/api/v1", *(f"/apis/{group}" for group in groups)):
            for kind in get(root)["resources"]:
                if not kind["namespaced"] or "list" not in kind["verbs"] or kind["name"] == "secrets":
                    continue
                for namespace in (self.namespace, self.airflow):
                    for one in get(f"{root}/namespaces/{namespace}/{kind['name']}")["items"]:
                        yield kind["name"], json.dumps(one).encode()

    def logs(self) -> Iterator[Place]:
        """Yield what every container that is there has printed."""
        for pod in self.core.list_namespaced_pod(self.namespace).items:
            for container in (*(pod.spec.init_containers or ()), *pod.spec.containers):
                with suppress(ApiException):  # one that has not started has none
                    log = self.core.read_namespaced_pod_log(
                        pod.metadata.name, self.namespace, container=container.name, _preload_content=False
                    )
                    yield "pod log", log.data


@contextmanager
def prepared(cluster: TestCluster, mongo_uri: str, s3: Any, runner_image: str, folder: Path) -> Iterator[Ground]:
    """Make a ground; what is in its namespace is gone afterwards."""
    from kubernetes import client

    core = client.CoreV1Api(cluster.api)
    name = f"test-{uuid.uuid4().hex[:12]}"
    with ExitStack() as stack:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        core.create_namespace({"metadata": {"name": name, "labels": labels}})
        stack.callback(core.delete_namespace, name)
        airflow = f"{name}-airflow"
        core.create_namespace({"metadata": {"name": airflow}})
        stack.callback(core.delete_namespace, airflow)
        apply_rights(cluster, name, airflow)

        host = named(cluster.api, name, cluster.node_ip, folder)

        def reachable(url: str) -> str:
            parts = urlsplit(url)
            there = stack.enter_context(forwarded(cluster.node_ip, (str(parts.hostname), int(parts.port or 0))))
            return url.replace(f"{parts.hostname}:{parts.port}", f"{host}:{there.rpartition(':')[2]}")

        behind = {"database": mongo_uri, "artifacts": s3.endpoint_url}
        s3 = replace(s3, bucket=name)
        s3.client().create_bucket(Bucket=name)
        store = replace(s3, endpoint_url=reachable(s3.endpoint_url)).address(
            "artifacts",
            mongo_uri=f"{reachable(mongo_uri)}&directConnection=true",  # it names itself by its loopback address
            database=name,
            registry=f"{cluster.registry}/{name}",
            registry_insecure=True,
            registry_username="robot",  # this registry asks nobody, and is told all the same
            registry_password=made_up("registry"),
            base_image=f"{cluster.registry}/library/python:3.11-slim",
            installation=name,
        )
        repositories = folder / "repositories"
        repositories.mkdir()
        git = reachable(stack.enter_context(serving_git(repositories, LOGIN)))
        yield Ground(core, name, airflow, store, repositories, git, runner_image, behind)
