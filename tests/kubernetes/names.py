"""A name for servers of this machine: pods resolve it by the cluster's DNS, this process and its children by a file."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

_HOSTS = b"/etc/hosts"
_NEW_MOUNTS, _PRIVATE, _BIND = 0x20000, 0x44000, 0x1000  # CLONE_NEWNS, MS_REC | MS_PRIVATE, MS_BIND of Linux


def named(api: Any, namespace: str, address: str, folder: Path) -> str:
    """Return a name for an address; without root the address itself, since nobody but pods would know the name.

    This process and those that it starts see a list of hosts with the name in it; the machine's own stays as it is.
    """
    from kubernetes import client

    if os.geteuid() != 0:
        return address
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
    hosts.write_text(f"{Path(os.fsdecode(_HOSTS)).read_text()}\n{address} {name}\n")
    libc = ctypes.CDLL(None, use_errno=True)
    for failed in (
        libc.unshare(_NEW_MOUNTS),
        libc.mount(b"none", b"/", None, _PRIVATE, None),
        libc.mount(os.fsencode(hosts), _HOSTS, None, _BIND, None),
    ):
        if failed:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return name
