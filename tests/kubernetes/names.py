"""A name for servers of this machine: pods resolve it by the cluster's DNS, this machine's processes by a list."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Has the programs that load it take names from a file, without a change of the machine's own (libnss-wrapper).
_WRAPPER = "libnss_wrapper.so"


@contextmanager
def named(api: Any, namespace: str, address: str, folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Have a name for an address.

    Yields:
        The name; what the environment of a process must have that is to know it outside of pods.
    """
    from kubernetes import client

    name = f"servers.{namespace}.svc.cluster.local"
    client.CoreV1Api(api).create_namespaced_service(
        namespace, {"metadata": {"name": "servers"}, "spec": {"clusterIP": "None"}}
    )
    slice_ = {
        "metadata": {"name": "servers", "labels": {"kubernetes.io/service-name": "servers"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]}],
        "ports": [],
    }
    client.DiscoveryV1Api(api).create_namespaced_endpoint_slice(namespace, slice_)
    hosts = folder / "hosts"
    hosts.write_text(f"{address} {name}\n")
    library = next(Path("/usr/lib").glob(f"*/{_WRAPPER}"))
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **more: Any) -> Any:
        return resolve(address if host in (name, name.encode()) else host, *rest, **more)

    socket.getaddrinfo = getaddrinfo
    try:
        yield name, {"LD_PRELOAD": str(library), "NSS_WRAPPER_HOSTS": str(hosts)}
    finally:
        socket.getaddrinfo = resolve
