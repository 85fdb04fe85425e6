"""What clients in the cluster see while a service changes, and while a part of it is killed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from kubernetes import client
from tests.fixtures_cluster import TestCluster
from tests.kubernetes.cluster_load import ClusterLoad, cluster_load
from tests.model_images import MODEL, ModelImages
from tests.processes import wait_until

from modelyard.deployment import ServiceSpec
from modelyard.deployment.kubernetes import KubernetesTarget
from modelyard.serving import keeper

pytestmark = pytest.mark.slow

# Each takes as long as the first one; ten of them with `make test-faults`.
ROLL_OUTS = 10 if "MODELYARD_FAULTS" in os.environ else 3
CLIENTS = 16
# In the order in which they are started: the container's first process, its server, the model.
KEEPER, SERVER, MODEL_PROCESS = range(3)


def processes(cluster: TestCluster, namespace: str) -> list[int]:
    """Return the processes of one of the model's containers, each the parent of the next."""
    pods = client.CoreV1Api(cluster.api).list_namespaced_pod(namespace, label_selector=f"modelyard.io/model={MODEL}")
    uid = pods.items[0].metadata.uid
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            control_groups = (folder / "cgroup").read_text().replace("_", "-")
            command = (folder / "cmdline").read_text()
            status = (folder / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if uid in control_groups and "python" in command:
            parents[int(folder.name)] = int(status.partition("PPid:")[2].split()[0])
    if not parents:
        pytest.skip("the processes of the cluster's nodes are not to be seen from here")
    found = [process for process, parent in parents.items() if parent not in parents]
    while len(found) < len(parents):  # not by number: these begin again from time to time
        found += [process for process, parent in parents.items() if parent == found[-1]]
    return found


def change(
    cluster: TestCluster, target: KubernetesTarget, spec: ServiceSpec, load: ClusterLoad, replaced: int
) -> tuple[float, float, float]:
    """Deploy while clients ask, and look whether any sees the replaced version afterwards.

    Returns:
        After how many seconds the new version was ready, had all traffic, and was said to be live.
    """
    asked, began, clock = load.count, time.monotonic(), time.time()
    target.deploy(spec, lambda _: None)
    took = time.monotonic() - began
    pods = client.CoreV1Api(cluster.api).list_namespaced_pod(
        spec.environment, label_selector=f"modelyard.io/generation={spec.generation}"
    )
    conditions = [condition for pod in pods.items for condition in pod.status.conditions if condition.type == "Ready"]
    ready = max(condition.last_transition_time.timestamp() for condition in conditions) - clock  # in whole seconds
    time.sleep(1)  # in which the last lines of the clients come
    old, moved = load.answers[replaced], load.seen[replaced] - began
    load.wait_for(1000)
    assert load.answers[replaced] == old
    print(
        f"version {replaced} -> {spec.version}: ready after {ready:.0f} s, all traffic after {moved:.1f} s, "
        f"told after {took:.1f} s, "
        f"{load.count - asked} requests, {len(load.failures)} failures"
    )
    return ready, moved, took


def test_roll_outs_and_a_roll_back_fail_no_request(
    cluster: TestCluster, namespace: str, target: KubernetesTarget, model_images: ModelImages
) -> None:
    specs = [model_images.spec(namespace, version, replicas=2) for version in range(1, ROLL_OUTS + 2)]
    back = model_images.spec(namespace, ROLL_OUTS, replicas=2, generation=ROLL_OUTS + 2)
    target.deploy(specs[0], print)
    with cluster_load(cluster, namespace) as load:
        load.wait_for(1000)
        for spec in specs[1:]:
            change(cluster, target, spec, load, spec.version - 1)
        change(cluster, target, back, load, ROLL_OUTS + 1)
        assert load.count > (ROLL_OUTS + 1) * 1000
    assert not load.failures


@pytest.fixture
def crash(
    cluster: TestCluster,
    namespace: str,
    target: KubernetesTarget,
    model_images: ModelImages,
    request: pytest.FixtureRequest,
) -> ClusterLoad:
    """What clients saw when one process of one of two replicas was killed."""
    target.deploy(model_images.spec(namespace, 1, replicas=2), print)
    with cluster_load(cluster, namespace) as load:
        load.wait_for(2000)
        time.sleep(keeper._YOUNG)
        os.kill(processes(cluster, namespace)[request.param], signal.SIGKILL)
        time.sleep(10)
        load.wait_for(3000)
    return load


@pytest.mark.parametrize("crash", [MODEL_PROCESS], indirect=True)
def test_a_model_that_crashes_in_one_of_two_replicas_fails_no_request(crash: ClusterLoad) -> None:
    assert not crash.failures


@pytest.mark.parametrize("crash", [SERVER], indirect=True)
def test_a_server_that_crashes_fails_only_what_it_was_answering(crash: ClusterLoad) -> None:
    """Its open connections end with it, at most one a client; the socket stays, so nobody is refused."""
    assert len(crash.failures) <= CLIENTS
    assert not [failure for failure in crash.failures if "Refused" in failure or "AssertionError" in failure]


@pytest.mark.parametrize("crash", [KEEPER], indirect=True)
def test_a_container_that_is_killed_is_left_out_within_seconds(crash: ClusterLoad) -> None:
    """Until the cluster knows of it, every second new connection goes there: to nobody, or while it loads its model."""
    answered = [failure for failure in crash.failures if "AssertionError" in failure]
    assert not [failure for failure in answered if "the model's process is being started again" not in failure]
    assert crash.failed[-1] - crash.failed[0] < 5


def test_replicas_for_which_there_is_no_room_come_one_after_the_other(
    cluster: TestCluster, namespace: str, target: KubernetesTarget, model_images: ModelImages
) -> None:
    target.deploy(model_images.spec(namespace, 1, replicas=2), print)
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "3"}}}
    core = client.CoreV1Api(cluster.api)
    core.create_namespaced_resource_quota(namespace, quota)
    wait_until(lambda: core.read_namespaced_resource_quota("few", namespace).status.used, "a quota that counts", 30)

    target.deploy(model_images.spec(namespace, 2, replicas=2), print)

    live = target.current(MODEL, namespace)
    assert live is not None
    assert live.version == 2
