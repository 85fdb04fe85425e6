"""What a step cannot reach that runs apart from the worker: refused before it is started."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from modelyard.errors import RequestError, StoreError
from modelyard.store.address import StoreAddress


def check_source(source: Mapping[str, str], runs_in: str) -> None:
    """Refuse a project that is a folder of this very machine.

    Args:
        source: of the project.
        runs_in: what the step is, ``pod`` or ``container``.

    Raises:
        RequestError: it is one.
    """
    if "folder" in source:
        raise RequestError(
            f"No {runs_in} can read the folder {source['folder']}",
            "put the project into a Git repository and enter that: modelyard lock --git URL --into FOLDER",
        )


def check_reachable(address: StoreAddress, conn_id: str, runs_in: str) -> None:
    """Refuse a store of which a part is on this very machine: a step elsewhere would look for it in itself.

    Args:
        address: of the store.
        conn_id: the connection that it is from.
        runs_in: what the step is, ``pod`` or ``container``.

    Raises:
        StoreError: naming the part.
    """
    remedy = f"correct the connection '{conn_id}': a {runs_in} needs"
    if address.artifacts.startswith("file:"):
        raise StoreError(
            f"No {runs_in} can reach the artifacts at '{address.artifacts}'", f"{remedy} s3://bucket/prefix"
        )
    if address.registry.startswith("oci:"):
        raise StoreError(f"No {runs_in} can reach the registry '{address.registry}'", f"{remedy} host:port/prefix")
    places = {
        "database": [f"//{host}" for host in address.mongo_hosts.split(",")],
        "registry": [f"//{address.registry.removeprefix('https://')}"],
        "artifacts": [address.s3_endpoint_url] if address.s3_endpoint_url else [],
    }
    for what, urls in places.items():
        for host in (urlsplit(url).hostname or "" for url in urls):
            if host in ("localhost", "::1") or host.startswith("127."):
                raise StoreError(
                    f"No {runs_in} can reach the {what} at '{host}'", f"{remedy} an address of the network"
                )
