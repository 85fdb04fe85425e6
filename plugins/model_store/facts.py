"""What ``modelyard doctor`` asks of Airflow: the library starts this as a process of its own, and reads it from a pipe.

Its arguments are the descriptor that takes the answer, an object of JSON with secrets in it, and settings by their
``section.key``.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

JSON = dict[str, Any]

KEYS = ("api_auth.jwt_secret", "api_auth.jwt_private_key_path", "core.fernet_key")

_NO_CONNECTION = (
    "make it under Admin → Connections, or set AIRFLOW_CONN_MODEL_STORE_DEFAULT; a worker that does not reach Airflow's"
    " database cannot see it: run this in the scheduler's pod"
)


def facts(names: list[str]) -> JSON:
    """Return these settings, the modes of steps, the store's address and the fields of the connection to the cluster.

    Of Airflow's own keys only whether there is one.
    """
    from airflow.configuration import conf as own
    from airflow.sdk import BaseHook, conf
    from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

    from model_store.hook import ModelStoreHook
    from model_store.mode import executions
    from modelyard.errors import ModelyardError

    address, registry_conn_id, error = None, None, None
    try:
        hook = ModelStoreHook()
        address, registry_conn_id = hook.address().to_json(), hook.registry_conn_id()
    except ModelyardError as refusal:
        error = (refusal.message, refusal.remedy)
    except AirflowNotFoundException as missing:
        error = (str(missing), _NO_CONNECTION)
    modes, modes_error = list[str](), None
    try:
        modes = executions()
    except AirflowException as refusal:
        modes_error = str(refusal)
    cluster_id = conf.get("modelyard", "kubernetes_conn_id", fallback="kubernetes_default")
    try:
        cluster = BaseHook.get_connection(cluster_id).extra_dejson
    except AirflowNotFoundException:  # the operator takes the cluster it is in then, or KUBECONFIG
        cluster = {}
    keys = {name: bool(own.get(*name.split(".", 1), fallback=None)) for name in KEYS}
    settings = {name: conf.get(*name.split(".", 1), fallback=None) for name in names}
    return {
        "settings": settings,
        "modes": modes,
        "modes_error": modes_error,
        "keys": keys,
        "address": address,
        "address_error": error,
        "cluster": cluster,
        "registry_conn_id": registry_conn_id,
    }


if __name__ == "__main__":
    # As `airflow connections` does: connections are read from Airflow's database too, not from the environment alone.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    with open(int(sys.argv[1]), "w") as pipe:  # noqa: PTH123 - a descriptor
        json.dump(facts(sys.argv[2:]), pipe)
