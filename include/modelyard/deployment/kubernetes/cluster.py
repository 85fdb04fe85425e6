"""A cluster's API server, with the few questions that a deployment has for it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kubernetes import client, config
from urllib3.exceptions import HTTPError

from modelyard.credential_places import CLUSTERS
from modelyard.deployment.cluster_access import ClusterAccess
from modelyard.deployment.smoke import HEADERS
from modelyard.deployment.target import JSON
from modelyard.errors import DeploymentFailed, RequestError, Unavailable

MANAGER = "modelyard"
# Seconds for which an API server may be away without a word of it.
_AWAY_SECONDS = 60.0
_AGAIN_SECONDS = 1.0
_TIMEOUT = (5, 30)
_JSON, _APPLY = "application/json", "application/apply-patch+yaml"
# The API server would keep its connection to the pod for 90 s, and a server that ends waits for those that rest.
_ONCE = {"modelyard-connection": "close"}
_PATHS = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Event": "/api/v1/namespaces/{}/events",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/{}/ingresses",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Service": "/api/v1/namespaces/{}/services",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
}


class ChangedError(Exception):
    """Somebody else was quicker: look again."""


def connect() -> client.ApiClient:
    """Return a client of the cluster this process runs in, else of the one that KUBECONFIG names.

    Raises:
        RequestError: there is neither.
    """
    settings = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=settings)
    except config.ConfigException:
        # The library reads the variable once, when it is imported.
        named = os.environ.get("KUBECONFIG", "~/.kube/config")
        try:
            config.load_kube_config(named, client_configuration=settings)
        except config.ConfigException as error:
            raise RequestError(
                f"No Kubernetes cluster is configured: {named}: {error}",
                "set KUBECONFIG to the file of the cluster's credentials, or run this step in the cluster",
            ) from error
    return client.ApiClient(settings)


def connect_to(access: ClusterAccess, home: Path) -> client.ApiClient:
    """Return a client of the cluster of a connection, which may be that of :func:`connect`.

    Args:
        access: what the connection says.
        home: this machine's folder; keys that TLS takes from files alone lie there while this process runs.

    Raises:
        RequestError: it leads to no cluster.
    """
    if access.kubeconfig is None:
        return connect()
    folder = home / CLUSTERS
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = client.Configuration()
    try:
        config.load_kube_config_from_dict(
            access.kubeconfig, client_configuration=settings, persist_config=False, temp_file_path=str(folder)
        )
    except config.ConfigException as error:
        raise RequestError(
            f"The connection '{access.conn_id}' leads to no cluster: {error}", "correct its kubeconfig in Airflow"
        ) from error
    return client.ApiClient(settings)


class Cluster:
    """The API server behind ``api``.

    Every method may raise Unavailable (it was away for a minute) or DeploymentFailed (it refuses, with the reason).
    """

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api

    def get(self, kind: str, namespace: str, name: str) -> JSON | None:
        """Return an object, None when there is none."""
        status, answer = self._ask("GET", _path(kind, namespace, name), accept=(404,))
        return None if status == 404 else answer

    def create(self, manifest: JSON) -> None:
        """Create an object.

        Raises:
            ChangedError: it is there already.
        """
        kind, metadata = manifest["kind"], manifest["metadata"]
        path = _path(kind, metadata["namespace"])
        status, _ = self._ask("POST", path, manifest, query={"fieldManager": MANAGER}, accept=(409,))
        if status == 409:
            raise ChangedError

    def apply(self, manifest: JSON, manager: str = MANAGER) -> JSON:
        """Have an object as the manifest says (server-side apply), whoever else has set the same fields; return it.

        What ``manager`` has applied before and the manifest leaves out is removed, unless another one has set it too.

        Raises:
            ChangedError: the manifest names a ``resourceVersion``, and it is another by now.
        """
        metadata = manifest["metadata"]
        status, answer = self._ask(
            "PATCH",
            _path(manifest["kind"], metadata["namespace"], metadata["name"]),
            manifest,
            query={"fieldManager": manager, "force": "true"},
            content_type=_APPLY,
            accept=(409,),
        )
        if status == 409:
            raise ChangedError
        applied: JSON = answer
        return applied

    def delete(self, found: JSON) -> None:
        """Delete an object and, before it, all that belongs to it.

        Raises:
            ChangedError: it is not as ``found`` any more.
        """
        metadata = found["metadata"]
        preconditions = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        status, _ = self._ask(
            "DELETE",
            _path(found["kind"], metadata["namespace"], metadata["name"]),
            {"propagationPolicy": "Foreground", "preconditions": preconditions},
            accept=(404, 409),
        )
        if status == 409:
            raise ChangedError

    def pods(self, namespace: str, labels: Mapping[str, str]) -> list[JSON]:
        """Return the pods with these labels."""
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        found: list[JSON] = self._ask("GET", _path("Pod", namespace), query={"labelSelector": selector})[1]["items"]
        return found

    def events(self, pod: JSON, most: int) -> list[str]:
        """Return what the cluster has to say against a pod, the newest last; nothing where it may not be asked."""
        metadata = pod["metadata"]
        chosen = f"involvedObject.uid={metadata['uid']},type!=Normal"
        query = {"fieldSelector": chosen}
        status, _, body = self._send("GET", _path("Event", metadata["namespace"]), query=query)
        found = json.loads(body)["items"] if status == 200 else []
        found.sort(key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
        return [f"{event['reason']}: {event.get('message', '').strip()}" for event in found[-most:]]

    def log(self, pod: JSON, container: str, lines: int, *, previous: bool) -> str:
        """Return the last lines that a container wrote; what came before it was started again, if ``previous``."""
        metadata = pod["metadata"]
        path = f"{_path('Pod', metadata['namespace'], metadata['name'])}/log"
        query = {"container": container, "tailLines": str(lines), "previous": str(previous).lower()}
        status, _, body = self._send("GET", path, query=query)
        return body.decode(errors="replace").strip() if status == 200 else ""

    def ask_service(
        self, namespace: str, name: str, port: str, method: str, path: str, body: JSON | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Ask a Service through the API server, which works from inside and outside the cluster alike.

        Returns:
            Status, headers and body of the answer.
        """
        proxy = f"{_path('Service', namespace, f'http:{name}:{port}')}/proxy{path}"
        return self._answer(time.monotonic() + _AWAY_SECONDS, method, proxy, body, headers=_ONCE | HEADERS)

    def ask_once(
        self, method: str, path: str, body: JSON | None = None, accept: tuple[int, ...] = ()
    ) -> tuple[int, Mapping[str, str], Any]:
        """Ask anything, but only once: for who wants to know whether the API server answers.

        Returns:
            Status (a good one or one of ``accept``), headers and parsed body.
        """
        status, headers, data = self._send(method, path, body)
        answer = _parsed(data)
        if status >= 300 and status not in accept:
            raise _refused(status, answer, path)
        return status, headers, answer

    def _ask(
        self,
        method: str,
        path: str,
        body: JSON | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = _JSON,
        accept: tuple[int, ...] = (),
    ) -> tuple[int, Any]:
        """Ask until there is an answer: everything that is asked here may be asked twice."""
        deadline = time.monotonic() + _AWAY_SECONDS
        while True:
            status, _, data = self._answer(deadline, method, path, body, query, content_type)
            answer = _parsed(data)
            if status < 300 or status in accept:
                return status, answer
            if status != 429 and status < 500:
                raise _refused(status, answer, path)
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"The cluster's API server answers {status}: {answer.get('message', '')}",
                    "try again later; if it goes on, ask who runs the cluster",
                )
            time.sleep(_AGAIN_SECONDS)

    def _answer(
        self,
        deadline: float,
        method: str,
        path: str,
        body: JSON | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = _JSON,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return the first answer, whatever it is; nobody's until ``deadline`` (monotonic) is waited for."""
        while True:
            try:
                return self._send(method, path, body, query, content_type, headers)
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_AGAIN_SECONDS)

    def _send(
        self,
        method: str,
        path: str,
        body: JSON | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = _JSON,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            response = self._api.call_api(
                path,
                method,
                query_params=list((query or {}).items()),
                header_params={"Accept": "application/json, */*", "Content-Type": content_type, **(headers or {})},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=_TIMEOUT,
            )
            return response.status, response.headers, response.data
        except client.ApiException as error:
            if error.status:
                answer = error.body if isinstance(error.body, bytes) else str(error.body or "").encode()
                return error.status, error.headers or {}, answer
            raise self._away(error.reason) from error
        except (HTTPError, OSError) as error:
            raise self._away(error) from error

    def _away(self, why: object) -> Unavailable:
        return Unavailable(
            f"The cluster's API server at {self._api.configuration.host} cannot be reached: {why}",
            "check the address, and the network from where this step runs",
        )


def _path(kind: str, namespace: str, name: str | None = None) -> str:
    folder = _PATHS[kind].format(quote(namespace))
    return folder if name is None else f"{folder}/{quote(name, safe=':')}"


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return {"message": data[:500].decode(errors="replace")}


def _refused(status: int, answer: JSON, path: str) -> DeploymentFailed:
    message = answer.get("message") or path
    if status == 401:
        return DeploymentFailed(
            f"The cluster does not know the account: {message}", "its token has expired or is of another cluster"
        )
    if status in (403, 404):
        return DeploymentFailed(
            f"The cluster refuses: {message}",
            "the namespace must exist, with the Role of docker/kubernetes/environment.yaml for the deploying account",
        )
    return DeploymentFailed(
        f"The cluster refuses: {message}",
        "correct what it names: in model.yaml, or in the namespace's quotas and policies",
    )
