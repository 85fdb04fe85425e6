"""Which cluster an environment's services are in: what an Airflow connection of type ``kubernetes`` says of it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from modelyard.deployment.target import JSON
from modelyard.errors import RequestError
from modelyard.flag import flag

# What a kubeconfig may have as a file of the machine it was written for, and what holds the same as a value.
_FILES = {
    "certificate-authority": "certificate-authority-data",
    "client-certificate": "client-certificate-data",
    "client-key": "client-key-data",
}


@dataclass(frozen=True)
class ClusterAccess:
    """Access to one cluster; a step gets it through a pipe or a mounted file, never through its environment.

    Attributes:
        conn_id: the connection's id.
        kubeconfig: of one context alone, complete in itself; None for the cluster that the step runs in.
        namespace: where services are when their environment names none.
    """

    conn_id: str
    kubeconfig: JSON | None = field(default=None, repr=False)
    namespace: str | None = None

    @classmethod
    def from_extra(cls, conn_id: str, extra: Mapping[str, object]) -> ClusterAccess:
        """Return the access of a connection, as Airflow's KubernetesHook reads its ``extra``.

        Files that the kubeconfig names are read here, on the machine that has them.

        Raises:
            RequestError: the connection cannot be right; what it holds is not shown.
        """
        text, path = (extra.get(key) or None for key in ("kube_config", "kube_config_path"))
        in_cluster, unverified = (
            flag(extra.get(key), f"{key} of the connection '{conn_id}'", RequestError)
            for key in ("in_cluster", "disable_verify_ssl")
        )
        if sum(map(bool, (text, path, in_cluster))) > 1:
            raise _wrong(conn_id, "more than one of kube_config, kube_config_path and in_cluster", "choose one of them")
        namespace = str(extra["namespace"]) if extra.get("namespace") else None
        if not text and not path:
            return cls(conn_id, None, namespace)
        folder = Path()
        if path:
            file = Path(str(path)).expanduser()
            folder = file.parent
            try:
                text = file.read_text()
            except OSError as error:
                why = f"kube_config_path {path}: {error.strerror}"
                raise _wrong(conn_id, why, "give the path of a file on the worker") from error
        context = str(extra["cluster_context"]) if extra.get("cluster_context") else None
        kubeconfig = _complete(_parsed(conn_id, text), context, folder, conn_id)
        if unverified:
            cluster = kubeconfig["clusters"][0]["cluster"]
            cluster.pop("certificate-authority-data", None)
            cluster["insecure-skip-tls-verify"] = True
        return cls(conn_id, kubeconfig, namespace)

    def to_json(self) -> JSON:
        """Return it as plain JSON types, the credentials included: ``ClusterAccess(**json)`` gives it back."""
        return asdict(self)


def _parsed(conn_id: str, value: object) -> JSON:
    try:
        parsed = value if isinstance(value, dict) else yaml.safe_load(str(value))
    except yaml.YAMLError:
        parsed = None  # its message would show the credentials around the mistake
    if not isinstance(parsed, dict):
        raise _wrong(conn_id, "kube_config is no kubeconfig", "paste the output of: kubectl config view --raw --minify")
    return parsed


def _complete(kubeconfig: JSON, context: str | None, folder: Path, conn_id: str) -> JSON:
    """Return what one context needs, with the content of files in place of their names."""
    name = context or kubeconfig.get("current-context")
    try:
        chosen = _named(kubeconfig, "context", name)
        cluster = _embedded(_named(kubeconfig, "cluster", chosen["cluster"]), folder)
        user = _embedded(_named(kubeconfig, "user", chosen["user"]), folder)
        if "tokenFile" in user:
            user["token"] = (folder / user.pop("tokenFile")).read_text().strip()
    except (KeyError, TypeError) as error:
        raise _wrong(
            conn_id, f"the kubeconfig has no complete context '{name}'", "set cluster_context to one that it has"
        ) from error
    except OSError as error:
        raise _wrong(
            conn_id, f"the kubeconfig names {error.filename}: {error.strerror}", "put its content into the kubeconfig"
        ) from error
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "chosen",
        "contexts": [{"name": "chosen", "context": {"cluster": "chosen", "user": "chosen"}}],
        "clusters": [{"name": "chosen", "cluster": cluster}],
        "users": [{"name": "chosen", "user": user}],
    }


def _named(kubeconfig: JSON, kind: str, name: object) -> JSON:
    for entry in kubeconfig[f"{kind}s"]:
        if entry["name"] == name:
            return dict(entry[kind])
    raise KeyError(name)


def _embedded(entry: JSON, folder: Path) -> JSON:
    kept = {key: value for key, value in entry.items() if key not in _FILES}
    files = {_FILES[key]: folder / path for key, path in entry.items() if key in _FILES and _FILES[key] not in kept}
    return kept | {key: b64encode(path.expanduser().read_bytes()).decode() for key, path in files.items()}


def _wrong(conn_id: str, what: str, remedy: str) -> RequestError:
    return RequestError(f"The connection '{conn_id}' leads to no cluster: {what}", remedy)
