"""The servers and the rights, seen from inside pods: what a step sees is not what this machine sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import modelyard
from modelyard.deployment.kubernetes.cluster import Cluster
from modelyard.doctor import artifacts, database, registry
from modelyard.doctor.airflow import Airflow
from modelyard.doctor.clock import TOLERATED
from modelyard.doctor.cluster import told
from modelyard.doctor.finding import Finding
from modelyard.doctor.pod import Runner, run
from modelyard.doctor.probe import Seen
from modelyard.doctor.rights import DEPLOYER
from modelyard.execution.kubernetes import CONTAINER, DEPLOYER_ACCOUNT, STEP_ACCOUNT
from modelyard.execution.pod_template import read_template
from modelyard.execution.secrets import pull_secret
from modelyard.store import StoreAddress
from modelyard.store.s3 import Bucket


def prepare(
    cluster: Cluster, namespace: str, image: str, airflow: Airflow | None, address: StoreAddress | None
) -> Runner:
    """Return what the pods of steps run, with the Secret that opens the registry applied as a step's task applies it.

    Args:
        cluster: whose account may run steps.
        namespace: of the steps.
        image: the runner image.
        airflow: None where pods are looked at without one.
        address: of the store, if it is known.

    Raises:
        RequestError: the administrator's pod template is none; DeploymentFailed: the Secret may not be written.
    """
    if airflow is None or address is None:
        return Runner(image)
    path = airflow.settings["modelyard.pod_template"]
    template = read_template(Path(path), CONTAINER) if path else None
    secret = None
    if airflow.registry_conn_id is not None and not airflow.settings["modelyard.store_secret"]:
        secret = pull_secret(address, airflow.registry_conn_id)
    if secret is None:
        return Runner(image, None, template)
    cluster.apply(secret | {"metadata": secret["metadata"] | {"namespace": namespace}})
    return Runner(image, secret["metadata"]["name"], template)


def look_as_step(
    cluster: Cluster,
    namespace: str,
    runner: Runner,
    address: StoreAddress | None,
    progress: Callable[[str], None],
) -> Iterator[Finding]:
    """Start a pod as a step's, and tell what it sees of the servers that steps use.

    Args:
        cluster: whose account may run steps.
        namespace: of the steps.
        runner: what the pod runs.
        address: of the store; None where it is not known or nothing that a pod could reach.
        progress: told what is waited for.
    """
    hosts = {} if address is None else _servers(address)
    files = [] if address is None else _files(address)
    arguments = [f"--host={host}:{port}" for host, port in hosts] + [f"--file={path}" for path in files]
    seen, late = run(cluster, namespace, STEP_ACCOUNT, runner, arguments, progress, token=False)
    if isinstance(seen, Finding):
        yield seen
        return
    yield from _version(seen, runner.image)
    for way in seen.ways:
        subject = f"{hosts[way.host, way.port]} from a pod"
        if way.error is None:
            yield Finding("ok", subject, f"{way.host}:{way.port} takes a connection, {way.ms:.1f} ms")
        else:
            remedy = (
                "write a name in the connection that the cluster's DNS knows, or an address; look at the cluster's"
                " DNS, and at network policies and firewalls between the nodes and this server"
            )
            yield Finding("failed", subject, f"{way.host}:{way.port}: {way.error}", remedy)
    for path in seen.missing_files:
        yield Finding(
            "failed",
            "Certificates in a pod",
            f"the runner image has no file {path}, which the store's connection names",
            "build the runner image on a base image with this file (modelyard image runner --base)",
        )
    if abs(late) > TOLERATED:
        yield Finding(
            "warning",
            "Node: clock",
            f"{abs(late):.0f} seconds {'ahead of' if late > 0 else 'behind'} this machine's",
            "keep all nodes by the same time servers as this machine",
        )


def look_as_deployer(
    cluster: Cluster, namespace: str, runner: Runner, environments: Sequence[str], progress: Callable[[str], None]
) -> Iterator[Finding]:
    """Start a pod with the account that deploys, and tell what it may do in each environment's namespace."""
    arguments = [f"--namespace={name}" for name in environments]
    seen, _ = run(cluster, namespace, DEPLOYER_ACCOUNT, runner, arguments, progress, token=True)
    if isinstance(seen, Finding):
        yield seen
        return
    if seen.error is not None:
        yield Finding("failed", "Deploying from a pod", seen.error, "see that pods reach the cluster's API server")
    for name, lacking in seen.missing_rights.items():
        yield told(f"{namespace}:{DEPLOYER_ACCOUNT}", name, DEPLOYER, lacking)


def _version(seen: Seen, image: str) -> Iterator[Finding]:
    own = modelyard.__version__
    found = f"{image} starts: Modelyard {seen.modelyard}, Python {seen.python}"
    if seen.modelyard == own:
        yield Finding("ok", "Runner image", found)
    else:
        remedy = f"make it of this one: modelyard image runner --push {image.partition('@')[0]}"
        yield Finding("warning", "Runner image", f"{found}; here is Modelyard {own}", remedy)


def _servers(address: StoreAddress) -> dict[tuple[str, int], str]:
    """Return what is at each host and port that a step connects to."""
    found = dict.fromkeys(database.servers(address), database.SUBJECT)
    scheme = "http" if address.registry_insecure else "https"
    for subject, url in (
        (artifacts.SUBJECT, str(Bucket.of(address).client.meta.endpoint_url)),
        (registry.SUBJECT, f"{scheme}://{address.registry.removeprefix('https://')}"),
    ):
        parts = urlsplit(url)
        found[parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)] = subject
    return found


def _files(address: StoreAddress) -> list[str]:
    """Return the paths in an address, which a step's pod must have too."""
    options = dict(parse_qsl(urlsplit(address.mongo_uri).query))
    named = (address.s3_ca_bundle, address.registry_ca_bundle, options.get("tlsCAFile"))
    return [path for path in named if path]
