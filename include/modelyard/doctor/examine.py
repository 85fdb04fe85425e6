"""All looks, in their order: what can go on at once does, and the report is always the same."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import modelyard
from modelyard.doctor import airflow, artifacts, database, registry
from modelyard.doctor.finding import Finding, Look, refused
from modelyard.errors import ModelyardError, RequestError, StoreError
from modelyard.store import StoreAddress

if TYPE_CHECKING:
    from modelyard.deployment.kubernetes.cluster import Cluster

_SECONDS = 30.0
_CLUSTER = "Kubernetes"
_NAMESPACE = "modelyard"
_AWAY = "see that it runs, and that address, port, DNS and firewalls let this machine reach it"


@dataclass(frozen=True)
class Asked:
    """What the command was asked for.

    Attributes:
        namespace: of the steps; None takes what Airflow is set to.
        environments: the namespaces of the environments that are deployed to.
        runner_image: None takes what Airflow is set to.
    """

    namespace: str | None = None
    environments: tuple[str, ...] = ()
    runner_image: str | None = None


def examine(
    asked: Asked, environment: Mapping[str, str], home: Path, progress: Callable[[str], None]
) -> Iterator[Finding]:
    """Look at everything that a pipeline needs, as the user and with the settings of this process.

    Args:
        asked: the command's options.
        environment: variables of this process.
        home: this machine's folder.
        progress: told what is waited for.
    """
    yield Finding("ok", "Modelyard", f"{modelyard.__version__}, Python {platform.python_version()}, {sys.platform}")
    set_up, looks = None, []
    found = airflow.is_here(environment)
    if found is None:
        why = "none is installed beside this Modelyard and set up (AIRFLOW_HOME); run this where Airflow's workers run"
        yield Finding("skipped", airflow.SUBJECT, why)
    else:
        progress(f"Asking Airflow {found} …")
        told = airflow.ask()
        if isinstance(told, Finding):
            yield told
        else:
            set_up = told
            yield from airflow.settings(told, found)
            looks.append(Look("Airflow's processes", _SECONDS, _AWAY, lambda: airflow.health(told)))
    address = set_up.address if set_up is not None else None
    try:
        address = address or StoreAddress.from_environment(environment)
    except StoreError as error:
        if set_up is None or set_up.address_error is None:
            yield refused("Model store", error)
    if address is not None:
        store = address
        looks += [
            Look(database.SUBJECT, _SECONDS, _AWAY, lambda: database.look(store)),
            Look(artifacts.SUBJECT, _SECONDS, _AWAY, lambda: artifacts.look(store)),
            Look(registry.SUBJECT, _SECONDS, _AWAY, lambda: registry.look(store, home)),
        ]
    progress("Asking MongoDB, artifacts and registry …")
    for look in looks:
        yield from look.findings()
    yield from _look_at_cluster(asked, set_up, address, progress)


def _look_at_cluster(
    asked: Asked, set_up: airflow.Airflow | None, address: StoreAddress | None, progress: Callable[[str], None]
) -> Iterator[Finding]:
    runs_pods = set_up is not None and set_up.runs_pods
    if not (runs_pods or asked != Asked()):
        why = "steps are no pods here; to look at a cluster all the same: --namespace, --environment-namespace"
        yield Finding("skipped", _CLUSTER, why)
        return
    from modelyard.deployment.kubernetes.cluster import Cluster
    from modelyard.doctor import cluster as from_here

    settings = set_up.settings if set_up is not None else {}
    image = asked.runner_image or settings.get("modelyard.runner_image")
    steps = asked.namespace or settings.get("modelyard.namespace") or _NAMESPACE
    has_steps = bool(runs_pods or asked.namespace or asked.runner_image)
    try:
        cluster = Cluster(from_here.connection(set_up.cluster if set_up is not None else {}))
    except RequestError as error:
        yield refused(_CLUSTER, error)
        return
    progress("Asking the cluster …")
    yield from (looked := Look(_CLUSTER, _SECONDS, _AWAY, lambda: from_here.look(cluster)).findings())
    if not any(one.state == "ok" and one.subject == _CLUSTER for one in looked):
        return

    def namespaces() -> Iterator[Finding]:
        for name in dict.fromkeys([*([steps] if has_steps else []), *asked.environments]):
            yield from from_here.look_at_namespace(cluster, name)
        deployed_from_here = () if has_steps else asked.environments
        yield from from_here.look_at_rights(cluster, steps if has_steps else None, deployed_from_here)

    yield from Look("Namespaces", _SECONDS, _AWAY, namespaces).findings()
    if not has_steps:
        return
    if not image:
        why = "no runner image is named: --runner-image, or [modelyard] runner_image"
        yield Finding("skipped", "Pods", why)
        return
    yield from _look_from_pods(cluster, steps, image, address, asked.environments, progress)


def _look_from_pods(
    cluster: Cluster,
    steps: str,
    image: str,
    address: StoreAddress | None,
    environments: Sequence[str],
    progress: Callable[[str], None],
) -> Iterator[Finding]:
    """Not in a thread of its own: an interrupt is to find the pod's deletion."""
    from modelyard.doctor import inside
    from modelyard.execution.kubernetes import check_reachable
    from modelyard.provider_info import CONNECTION_ID

    hosts: dict[tuple[str, int], str] = {}
    files: list[str] = []
    if address is not None:
        try:
            check_reachable(address, CONNECTION_ID)
            hosts = inside.servers(address)
        except ModelyardError as error:
            yield refused("Addresses for pods", error)
        files = [path for path in (address.s3_ca_bundle, address.registry_ca_bundle) if path]
    try:
        yield from inside.look_as_step(cluster, steps, image, hosts, files, progress)
        if environments:
            yield from inside.look_as_deployer(cluster, steps, image, environments, progress)
        else:
            yield Finding("skipped", "Deploying", "no environment's namespace is named: --environment-namespace")
    except ModelyardError as error:
        yield refused("Pods", error)
