"""What pods of a test work with: a namespace, a model store and a Git server at addresses that they reach."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from tests.fixtures_cluster import TestCluster
from tests.forwarding import forwarded
from tests.git_server import serving_git
from tests.kubernetes.administration import apply_rights
from tests.kubernetes.names import named

from modelyard.sources import Credentials
from modelyard.store import StoreAddress

LOGIN = Credentials("robot", "a-token-that-no-log-may-show")
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

    def pods(self) -> dict[str, Any]:
        """Return the pods that are there, by step."""
        found = self.core.list_namespaced_pod(self.namespace, label_selector="modelyard.io/step").items
        return {pod.metadata.labels["modelyard.io/step"]: pod for pod in found}

    @property
    def target(self) -> dict[str, str]:
        """What model.yaml says of an environment that is this namespace."""
        return {"target": "kubernetes", "namespace": self.namespace}

    def source(self, project: str) -> dict[str, Any]:
        """Return what names a project of the Git server."""
        return {"git": f"{self.git}/{project}/.git", "ref": None, "subfolder": ""}

    @property
    def credentials(self) -> list[str]:
        """Every credential that a step uses."""
        return [str(urlsplit(self.store.mongo_uri).password), str(self.store.s3_secret_key), LOGIN.token]


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
            base_image=f"{cluster.registry}/library/python:3.11-slim",
            installation=name,
        )
        repositories = folder / "repositories"
        repositories.mkdir()
        git = reachable(stack.enter_context(serving_git(repositories, LOGIN)))
        yield Ground(core, name, airflow, store, repositories, git, runner_image, behind)


class Manifests:
    """Every manifest of a namespace's pods, looked at again and again while this is entered."""

    def __init__(self, ground: Ground) -> None:
        self.seen: dict[str, str] = {}
        self._ground = ground
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
            for step, pod in self._ground.pods().items():
                self.seen[step] = str(pod)
