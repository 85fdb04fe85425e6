"""All looks, in their order: what can go on at once does, and the report is always the same."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import modelyard
from modelyard.doctor import airflow, artifacts, database, engine, registry
from modelyard.doctor.finding import Finding, Look, refused
from modelyard.errors import ModelyardError, RequestError, StoreError
from modelyard.provider_info import CONNECTION_ID
from modelyard.store import StoreAddress

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

    from modelyard.deployment.kubernetes.cluster import Cluster

_SECONDS = 25.0
_CLUSTER = "Kubernetes"
# Any of these says where something is that can be looked at while Airflow tells nothing.
_WITHOUT_AIRFLOW = ("MODELYARD_MONGO_URI", "KUBECONFIG", "KUBERNETES_SERVICE_HOST")
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


@dataclass(frozen=True)
class Place:
    """What is looked at in the cluster.

    Attributes:
        steps: the namespace of the steps' pods; None where steps are none.
        environments: namespaces that are deployed to.
        image: the runner image, if one is named.
        address: of the store, if it is known.
    """

    steps: str | None
    environments: tuple[str, ...]
    image: str | None
    address: StoreAddress | None

    @property
    def namespaces(self) -> list[str]:
        """Each namespace once."""
        return list(dict.fromkeys([*([self.steps] if self.steps else []), *self.environments]))


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
    set_up = None
    found = airflow.is_here(environment)
    if found is None:
        why = "none is installed and set up (AIRFLOW_HOME) where this runs: nothing to look at"
        yield Finding("skipped", airflow.SUBJECT, why)
    else:
        progress(f"Asking Airflow {found} …")
        told = airflow.ask()
        if isinstance(told, Finding):
            yield told
            if not any(name in environment for name in _WITHOUT_AIRFLOW):
                yield Finding("skipped", "All else", "Airflow's connections name it, and nothing else does")
                return
        else:
            set_up = told
            yield from airflow.settings(told, found)
    address = set_up.address if set_up is not None else None
    try:
        address = address or StoreAddress.from_environment(environment)
    except StoreError as error:
        if set_up is None or set_up.address_error is None:
            yield refused("Model store", error)

    progress("Asking servers …")
    looks = _looks(set_up, address, home)
    place = _place(asked, set_up, address)
    if place is None:
        for look in looks:
            yield from look.findings()
        why = "steps are no pods here; to look at a cluster all the same: --namespace, --environment-namespace"
        yield Finding("skipped", _CLUSTER, why)
    else:
        yield from _with_cluster(place, set_up, looks, home, progress)


def _looks(set_up: airflow.Airflow | None, address: StoreAddress | None, home: Path) -> list[Look]:
    looks = []
    if set_up is not None:
        looks.append(Look(airflow.PROCESSES, _SECONDS, _AWAY, lambda: airflow.health(set_up)))
    if address is not None:
        looks += [
            Look(database.SUBJECT, _SECONDS, _AWAY, lambda: database.look(address)),
            Look(artifacts.SUBJECT, _SECONDS, _AWAY, lambda: artifacts.look(address)),
            Look(registry.SUBJECT, _SECONDS, _AWAY, lambda: registry.look(address, home)),
        ]
        if set_up is not None and set_up.runs_containers:
            looks.append(Look(engine.SUBJECT, _SECONDS, _AWAY, lambda: engine.look(address)))
    return looks


def _place(asked: Asked, set_up: airflow.Airflow | None, address: StoreAddress | None) -> Place | None:
    """Return what is to be looked at in a cluster, None when nobody means one."""
    runs_pods = set_up is not None and set_up.runs_pods
    if not runs_pods and asked == Asked():
        return None
    settings = set_up.settings if set_up is not None else {}
    steps = asked.namespace or settings.get("modelyard.namespace") or "modelyard"
    image = asked.runner_image or settings.get("modelyard.runner_image") or None
    has_steps = runs_pods or asked.namespace is not None or asked.runner_image is not None
    return Place(steps if has_steps else None, asked.environments, image, address)


def _with_cluster(
    place: Place, set_up: airflow.Airflow | None, looks: list[Look], home: Path, progress: Callable[[str], None]
) -> Iterator[Finding]:
    from modelyard.deployment.kubernetes.cluster import Cluster
    from modelyard.execution.reach import check_reachable

    cluster, no_cluster, look_at_cluster = None, None, None
    try:
        cluster = Cluster(_client(set_up, home))
        look_at_cluster = Look(_CLUSTER, _SECONDS, _AWAY, lambda: _from_here(cluster, place, set_up))
    except RequestError as error:
        no_cluster = refused(_CLUSTER, error)
    for look in looks:
        yield from look.findings()
    reachable = False
    if place.steps is not None and place.address is not None:
        try:
            check_reachable(place.address, CONNECTION_ID, "pod")
            reachable = True
        except StoreError as error:
            yield refused("Addresses for pods", error)
    if cluster is None or look_at_cluster is None:
        yield from [no_cluster] if no_cluster else []
        return
    found = look_at_cluster.findings()
    yield from found
    answers = any(one.subject == _CLUSTER and one.state == "ok" for one in found)
    if answers and place.steps is not None:
        yield from _from_pods(cluster, place, place.steps, set_up, progress, reachable=reachable)


def _client(set_up: airflow.Airflow | None, home: Path) -> ApiClient:
    from modelyard.deployment.cluster_access import ClusterAccess
    from modelyard.deployment.kubernetes.cluster import connect, connect_to

    if set_up is None:
        return connect()
    return connect_to(ClusterAccess.from_extra(set_up.cluster_conn_id, set_up.cluster), home)


def _from_here(cluster: Cluster, place: Place, set_up: airflow.Airflow | None) -> Iterator[Finding]:
    from modelyard.doctor import builds
    from modelyard.doctor import cluster as from_here

    yield from from_here.look(cluster)
    for name in place.namespaces:
        yield from from_here.look_at_namespace(cluster, name)
    # Where steps are pods, it is another account that deploys.
    yield from from_here.look_at_rights(cluster, place.steps, () if place.steps else place.environments)
    if place.steps is not None:
        settings = set_up.settings if set_up is not None else {}
        image, profile = (settings.get(f"modelyard.builder_{name}") for name in ("image", "seccomp_profile"))
        yield from builds.look(cluster, place.steps, image, profile or None)


def _from_pods(
    cluster: Cluster,
    place: Place,
    steps: str,
    set_up: airflow.Airflow | None,
    progress: Callable[[str], None],
    *,
    reachable: bool,
) -> Iterator[Finding]:
    """Not in a thread of its own: an interrupt is to end in the pod's deletion."""
    from modelyard.doctor import inside

    if place.image is None:
        why = "no runner image is named: --runner-image, or [modelyard] runner_image"
        yield Finding("skipped", "Pods", why)
        return
    address = place.address if reachable else None
    try:
        runner = inside.prepare(cluster, steps, place.image, set_up, place.address)
        yield from inside.look_as_step(cluster, steps, runner, address, progress)
        if place.environments:
            yield from inside.look_as_deployer(cluster, steps, runner, place.environments, progress)
        else:
            yield Finding("skipped", "Deploying", "no environment's namespace is named: --environment-namespace")
    except ModelyardError as error:
        yield refused("Pods", error)
