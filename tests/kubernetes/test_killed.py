"""A deployment that is killed at any moment: what it leaves, and who ends it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.fixtures_cluster import TestCluster
from tests.kubernetes.conftest import objects
from tests.kubernetes.deploying import Deploying
from tests.model_images import MODEL, ModelImages
from tests.processes import wait_until

from modelyard.deployment import ServiceSpec
from modelyard.deployment.kubernetes import KubernetesTarget

pytestmark = pytest.mark.slow

# A first deployment asks this often until it only waits: killed later, it has begun all that it begins.
QUESTIONS = 26


def moments(seed: int, number: int) -> list[int]:
    return sorted(random.Random(seed).sample(range(2, QUESTIONS), number))


@pytest.fixture
def deploying(model_images: ModelImages) -> Any:
    def deploying(spec: ServiceSpec, dies_at: int | None = None) -> Deploying:
        return Deploying(spec, model_images.images.reference(MODEL, spec.image_digest), dies_at)

    return deploying


def leftovers(cluster: TestCluster, namespace: str) -> list[str]:
    return [f"{kind} {item.metadata.name}" for kind, items in objects(cluster, namespace).items() for item in items]


def test_a_first_deployment_that_is_killed_is_ended_by_the_next_try_or_removed(
    cluster: TestCluster, namespace: str, target: KubernetesTarget, model_images: ModelImages, deploying: Any
) -> None:
    spec = model_images.spec(namespace, 1)
    for number, moment in enumerate(moments(seed=1, number=6)):
        assert deploying(spec, moment).outcome() == "killed", f"it did not ask {moment} times"
        assert target.current(MODEL, namespace) is None, "what was not proven is not live"
        if number % 2:
            target.deploy(spec, print)
            live = target.current(MODEL, namespace)
            assert live is not None
            assert live.running
        target.remove(MODEL, namespace)
        wait_until(lambda: not leftovers(cluster, namespace), f"nothing left after moment {moment}", 60)


def test_a_deployment_that_is_killed_is_ended_by_the_next_run(
    cluster: TestCluster, namespace: str, target: KubernetesTarget, model_images: ModelImages, deploying: Any
) -> None:
    target.deploy(model_images.spec(namespace, 1), print)
    for version, moment in enumerate(moments(seed=2, number=4), start=2):
        assert deploying(model_images.spec(namespace, version), moment).outcome() == "killed"
        live = target.current(MODEL, namespace)
        assert live is not None
        assert live.version == 1, "what was not proven is not live"
    target.deploy(model_images.spec(namespace, 6), print)
    assert facts(cluster, namespace) == {"6"}


def test_a_deployment_that_is_cancelled_takes_back_what_it_has_begun(
    cluster: TestCluster, namespace: str, target: KubernetesTarget, model_images: ModelImages, deploying: Any
) -> None:
    def pods(version: int) -> list[Any]:
        found = objects(cluster, namespace)["Pod"]
        return [pod for pod in found if pod.metadata.labels["app.kubernetes.io/version"] == str(version)]

    def cancelled(version: int) -> None:
        slow = model_images.spec(namespace, version, as_it_loads="time.sleep(20)")
        running = deploying(slow)
        wait_until(lambda: pods(version), "a pod of the version that is deployed", 60)
        running.cancel()
        assert running.outcome() == "cancelled"
        wait_until(lambda: not pods(version), "no pod of the version that was taken back", 120)  # its grace is 90 s

    cancelled(1)
    wait_until(lambda: not leftovers(cluster, namespace), "nothing left of a first version", 60)
    target.deploy(model_images.spec(namespace, 2), print)
    (before,) = pods(2)
    cancelled(3)
    (after,) = pods(2)
    assert after.metadata.uid == before.metadata.uid, "it was started again"
    assert facts(cluster, namespace) == {"2"}


@pytest.mark.parametrize("seed", range(4))
def test_of_two_runs_at_once_the_later_one_wins_whoever_is_killed_when(
    cluster: TestCluster,
    namespace: str,
    target: KubernetesTarget,
    model_images: ModelImages,
    deploying: Any,
    seed: int,
) -> None:
    chance = random.Random(seed)
    older = model_images.spec(namespace, 1, as_it_loads=f"time.sleep({chance.choice((0, 2))})")
    newer = model_images.spec(namespace, 2)
    running = [(spec, deploying(spec, chance.choice((None, *range(2, QUESTIONS))))) for spec in (older, newer)]
    outcomes: dict[int, str] = {}
    while running:
        spec, one = running.pop(chance.randrange(len(running)))
        outcomes[spec.version] = one.outcome()
        if outcomes[spec.version] == "killed":
            running.append((spec, deploying(spec)))

    assert outcomes[2] == "live"
    live = target.current(MODEL, namespace)
    assert live is not None
    assert (live.version, live.generation, live.running) == (2, 2, True)
    assert facts(cluster, namespace) == {"2"}


def facts(cluster: TestCluster, namespace: str) -> set[str]:
    """Return the versions that the objects of the service say they are of."""
    return {
        item.metadata.annotations["modelyard.io/version"]
        for items in objects(cluster, namespace).values()
        for item in items
        if not item.metadata.deletion_timestamp
    }
