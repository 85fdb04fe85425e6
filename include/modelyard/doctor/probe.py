"""What is seen from inside a pod: names, ways, clock, rights. It runs in the runner image."""

from __future__ import annotations

import platform
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import modelyard
from modelyard.errors import ModelyardError

_CONNECT_SECONDS = 5.0
_ALL_SECONDS = 15.0  # a resolver asks several servers for several names, seconds each


@dataclass(frozen=True)
class Way:
    """One server, looked for from inside a pod.

    Attributes:
        ms: until it took a connection.
        error: why it did not.
    """

    host: str
    port: int
    ms: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Seen:
    """What a pod saw.

    Attributes:
        time: seconds since 1970 by the node's clock, at the end.
        missing_files: of those it was asked for.
        missing_rights: of its account, in words, by namespace; empty where it has all.
    """

    modelyard: str
    python: str
    time: float
    ways: list[Way] = field(default_factory=list)
    missing_files: list[str] = field(default_factory=list)
    missing_rights: dict[str, str] = field(default_factory=dict)
    error: str | None = None

    @classmethod
    def read(cls, told: dict[str, Any]) -> Seen:
        """Return what a pod has printed, parsed as JSON."""
        return cls(**told | {"ways": [Way(**way) for way in told["ways"]]})


def see(hosts: Sequence[tuple[str, int]], files: Iterable[str], namespaces: Sequence[str]) -> dict[str, Any]:
    """Look around.

    Args:
        hosts: host and port of servers that the steps use.
        files: paths that the steps read.
        namespaces: where this pod's account is to deploy.
    """
    rights: dict[str, str] = {}
    error = None
    try:
        rights = _missing_rights(namespaces)
    except ModelyardError as refusal:
        error = refusal.message
    seen = Seen(
        modelyard=modelyard.__version__,
        python=platform.python_version(),
        ways=ways(hosts),
        missing_files=[path for path in files if not Path(path).is_file()],
        missing_rights=rights,
        error=error,
        time=time.time(),
    )
    return asdict(seen)


def ways(hosts: Sequence[tuple[str, int]]) -> list[Way]:
    """Try to connect to each, all at once."""
    found = {host: Way(*host, error=f"no answer within {_ALL_SECONDS:g} seconds") for host in hosts}

    def go(host: tuple[str, int]) -> None:
        found[host] = _way(*host)

    threads = [threading.Thread(target=go, args=(host,), daemon=True) for host in hosts]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + _ALL_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [found[host] for host in hosts]


def _way(host: str, port: int) -> Way:
    begun = time.perf_counter()
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except socket.gaierror as error:
        return Way(host, port, error=f"its name is not known there ({error.strerror})")
    except OSError as error:
        return Way(host, port, error=f"it takes no connection from there ({error.strerror or error})")
    return Way(host, port, ms=round((time.perf_counter() - begun) * 1e3, 1))


def _missing_rights(namespaces: Sequence[str]) -> dict[str, str]:
    if not namespaces:
        return {}
    from modelyard.deployment.kubernetes.cluster import Cluster, connect
    from modelyard.doctor.rights import DEPLOYER, missing

    cluster = Cluster(connect())
    return {name: missing(cluster, name, DEPLOYER) for name in namespaces}
