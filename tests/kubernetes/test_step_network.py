"""The NetworkPolicy of docker/kubernetes for steps, beside what the steps of a pipeline run really connected to."""

from __future__ import annotations

import os
import socket
import struct
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.kubernetes.administration import manifests
from tests.kubernetes.ground import Ground
from tests.kubernetes.step_processes import Watch, step_processes
from tests.kubernetes.stepping import Pods, succeed

from modelyard.steps import plan
from modelyard.store import Store

pytestmark = pytest.mark.slow

STEPS = [step.name for step in plan.STEPS]
_LISTEN = "0A"
# Where a server of each kind is to be found when it is not a test's, at a port that was free.
USUAL = {"database": 27017, "artifacts": 443, "registry": 443, "repository": 443, "packages": 443, "cluster": 6443}


class Connections(Watch):
    """What the pods of a run's steps have connected to, by the kernel's own tables, looked at on this machine.

    Attributes:
        run_id: of the pipeline run.
        there: address and port of every server, by step.
        came: steps that somebody else has connected to.
        datagrams: how many each step has sent.
    """

    def __init__(self, run_id: str) -> None:
        super().__init__(pause=0.01)
        self.run_id = run_id
        self.there: dict[str, set[tuple[str, int]]] = defaultdict(set)
        self.came: set[str] = set()
        self.datagrams: dict[str, int] = {}

    def look(self) -> None:
        """Look at the tables of every step that runs."""
        for step, process in step_processes(self.run_id):
            with suppress(OSError):  # it has ended meanwhile
                self._look(step, Path(f"/proc/{process.pid}"))

    def _look(self, step: str, process: Path) -> None:
        net = process / "net"
        rows = [line.split()[1:4] for name in ("tcp", "tcp6") for line in (net / name).read_text().splitlines()[1:]]
        listening = {local.rpartition(":")[2] for local, _, state in rows if state == _LISTEN}
        for local, remote, state in rows:
            address, port = remote.split(":")
            server = _address(address), int(port, 16)
            if state == _LISTEN or server[0].startswith(("127.", "::1")):
                continue
            if local.rpartition(":")[2] in listening:
                self.came.add(step)
            else:
                self.there[step].add(server)
        names, values = (line.split() for line in (net / "snmp").read_text().splitlines() if line.startswith("Udp:"))
        self.datagrams[step] = int(values[names.index("OutDatagrams")])


def _address(text: str) -> str:
    """Return an address of /proc/net: 32-bit words in the machine's order, in hexadecimal digits."""
    raw = b"".join(struct.pack("=I", int(text[start : start + 8], 16)) for start in range(0, len(text), 8))
    address = socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)
    return address.removeprefix("::ffff:")


def servers(ground: Ground) -> dict[tuple[str, int], str]:
    """Return what is at each address and port that a step may want."""
    store = ground.store
    found = {
        "database": store.mongo_uri,
        "artifacts": store.s3_endpoint_url,
        "registry": f"http://{store.registry}",
        "repository": ground.git,
        "cluster": ground.core.api_client.configuration.host,
    }
    named = {(urlsplit(str(url)).hostname, urlsplit(str(url)).port): what for what, url in found.items()}
    known = {(socket.gethostbyname(str(host)), int(port or 443)): what for (host, port), what in named.items()}
    (service,) = (
        one for one in ground.core.list_namespaced_service("default").items if one.metadata.name == "kubernetes"
    )
    return known | {(service.spec.cluster_ip, 443): "cluster"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look at the pods' connections")
def test_the_policy_admits_just_what_the_steps_of_a_run_connect_to(ground: Ground, tiny: Any, store: Store) -> None:
    known = servers(ground)
    pods = Pods(ground, store, tiny)
    with Connections(pods.run.id) as seen:
        succeed(pods, *STEPS)
    connected = {step: {known.get(one, _elsewhere(one)) for one in there} for step, there in seen.there.items()}
    for step, what in connected.items():
        print(f"{step:14}", *sorted(what))

    (policy,) = manifests("network.yaml", {"modelyard": ground.namespace})
    assert seen.came == set()
    assert policy["spec"]["ingress"] == []
    admitted = {(one["protocol"], one["port"]) for rule in policy["spec"]["egress"] for one in rule["ports"]}
    assert set.union(*connected.values()) == set(USUAL)
    assert all(seen.datagrams[step] for step in STEPS), "names; by TCP when an answer is too long for a datagram"
    assert admitted == {("UDP", 53), ("TCP", 53)} | {("TCP", port) for port in USUAL.values()}
    assert [step for step in STEPS if "cluster" in connected[step]] == ["deploy"]


def _elsewhere(server: tuple[str, int]) -> str:
    """Return what a server is that is none of the test's: the package index speaks HTTPS."""
    return "packages" if server[1] == 443 else f"{server[0]}:{server[1]}"
