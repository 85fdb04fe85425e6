"""The Secrets that Airflow makes of its connections: what pods mount, and what opens a registry to the nodes.

A Secret that somebody else has made, with the same keys, does as well.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from modelyard.deployment import ClusterAccess
from modelyard.store.address import StoreAddress
from modelyard.supply_chain import SigningKey

JSON = dict[str, Any]


def address_secret(address: StoreAddress, conn_id: str) -> JSON:
    """Return the Secret with the store's address, a key a variable: what ``modelyard step --address FOLDER`` reads."""
    return _secret(conn_id, address.installation, "Opaque", address.to_environment())


def git_secret(credentials: tuple[str, str], conn_id: str, installation: str) -> JSON:
    """Return the Secret with a repository's user and token: what ``modelyard step --git FOLDER`` reads."""
    username, password = credentials
    data = {"username": username, "password": password}
    return _secret(conn_id, installation, "kubernetes.io/basic-auth", data)


def cluster_secret(access: ClusterAccess, installation: str) -> JSON:
    """Return the Secret with a connection's access to a cluster: what ``modelyard step --cluster FOLDER`` reads."""
    return _secret(access.conn_id, installation, "Opaque", {"access": json.dumps(access.to_json())})


def signing_secret(key: SigningKey, conn_id: str, installation: str) -> JSON:
    """Return the Secret with the signing key: what ``modelyard step --signing FOLDER`` reads.

    It has the keys of one that ``cosign generate-key-pair k8s://NAMESPACE/NAME`` makes.
    """
    return _secret(conn_id, installation, "Opaque", {"cosign.key": key.pem, "cosign.password": key.password})


def pull_secret(address: StoreAddress, conn_id: str) -> JSON | None:
    """Return the Secret by which nodes pull from the store's registry; None when it asks for no login."""
    if not (address.registry_username and address.registry_password):
        return None
    login = f"{address.registry_username}:{address.registry_password}"
    auths = {
        address.registry.removeprefix("https://").partition("/")[0]: {
            "username": address.registry_username,
            "password": address.registry_password,
            "auth": b64encode(login.encode()).decode(),
        }
    }
    data = {".dockerconfigjson": json.dumps({"auths": auths})}
    return _secret(conn_id, address.installation, "kubernetes.io/dockerconfigjson", data)


def secret_name(conn_id: str, installation: str) -> str:
    """Return the name of a connection's Secret: no other connection, of no other Airflow, has the same."""
    readable = re.sub(r"[^a-z0-9]+", "-", conn_id.lower()).strip("-")[:60]
    return f"modelyard-{readable}-{sha256(json.dumps([installation, conn_id]).encode()).hexdigest()[:8]}"


def _secret(conn_id: str, installation: str, kind: str, data: Mapping[str, str]) -> JSON:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": secret_name(conn_id, installation),
            "labels": {"app.kubernetes.io/managed-by": "modelyard"},
            "annotations": {"modelyard.io/connection": conn_id},
        },
        "type": kind,
        "data": {name: b64encode(value.encode()).decode() for name, value in data.items()},
    }
