"""What a run on the cluster leaves, searched for every credential it used; and for some that its project planted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest
import yaml
from tests.conftest import S3
from tests.fixtures_machine import fail, succeed
from tests.kubernetes.conftest import Yard
from tests.kubernetes.ground import CONNECTION, LOGIN
from tests.kubernetes.stepping import altered
from tests.searching import Place, Search, Seen, arguments, files, made_up, noting
from tests.traces import in_airflow, in_bucket, in_database, in_images, in_records

from modelyard.images import open_images
from modelyard.images.base import pull_image
from modelyard.project.write_lock import write_git_entry
from modelyard.store import Store

# Two whole runs in pods and the search, all in one fixture; the others of this session run beside it.
pytestmark = pytest.mark.timeout(1200)

# What a project that knows no better does with its own: where it is, and in which place the search is to find it.
PLANTED = {what: made_up(what) for what in ("variable", "line", "argument", "source", "model", "XCom", "ConfigMap")}
PLACES = {
    "variable": {"train"},  # the manifest of the step's pod
    "line": {"leaky log", "collection runs"},
    "argument": {"arguments"},
    "source": {"artifact", "layer project"},
    "model": {"artifact", "layer model"},
    "XCom": {"leaky XCom", "table xcom"},
    "ConfigMap": {"configmaps"},
}
_LEAKY = f"""\
    import subprocess
    import sys

    # {PLANTED["source"]}
    print({PLANTED["line"]!r})
    subprocess.run([sys.executable, "-c", "import time; time.sleep(2)", {PLANTED["argument"]!r}], check=True)
    Path("trained").mkdir()
    Path("trained", "notes").write_text({PLANTED["model"]!r})
    time.sleep(pause)
"""


@pytest.fixture(scope="module")
def leaky(yard: Yard, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A project that writes down what it had better kept for itself."""
    deployment = {"environments": {"production": yard.ground.target}}
    pod = {"env": [{"name": "TOKEN", "value": PLANTED["variable"]}]}
    altered(
        yard.ground,
        "leaky",
        tmp_path_factory.mktemp("leaky"),
        {"train.py": ("    time.sleep(pause)\n", _LEAKY)},
        yaml.safe_dump({"deployment": deployment, "steps": {"train": {"pod": pod}}}),
    )
    return write_git_entry(yard.projects, yard.ground.source("leaky"), CONNECTION, LOGIN)


@dataclass(frozen=True)
class Searched:
    """What a search of all places found, and which they were."""

    found: set[tuple[str, str]]
    places: set[str]


@pytest.fixture(scope="module")
def searched(yard: Yard, leaky: str, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """All that is left by a run that ended well and by one that failed, and what could be seen meanwhile."""
    core, namespace = yard.ground.core, yard.ground.namespace
    planted = {"metadata": {"name": "planted"}, "data": {"token": PLANTED["ConfigMap"]}}
    core.create_namespaced_config_map(namespace, planted)
    places: set[str] = set()
    with yard.machine.api() as api:
        with Seen(yard.ground.manifests, 0.3) as pods, Seen(arguments, 0.1) as processes:
            runs = [succeed(api, leaky, {})]
            task = f"/dags/{leaky}/dagRuns/{runs[0]}/taskInstances/train"
            api.post(f"{task}/xcomEntries", {"key": "planted", "value": PLANTED["XCom"], "map_index": -1})
            fail(api, leaky, {"config.treshold": 0.4})
            runs.append(api.runs(leaky)[0]["dag_run_id"])
        left = chain(
            pods.places,
            processes.places,
            *(in_airflow(api, leaky, run) for run in runs),
            in_database(yard.machine.home / "airflow" / "airflow.db"),
            files(yard.machine.home),
            yard.ground.objects(),
            yard.ground.logs(),
            _in_the_store(yard, tmp_path_factory.mktemp("images")),
        )
        found = Search({**PLANTED, **yard.credentials}).found(noting(left, places))
    core.delete_namespaced_config_map("planted", namespace)
    for pod in yard.ground.pods().values():
        core.delete_namespaced_pod(pod.metadata.name, namespace)
    return Searched(found, places)


def _in_the_store(yard: Yard, home: Path) -> Iterator[Place]:
    address = yard.ground.store
    with Store.open(address) as store:
        yield from in_records(store)
    client = S3(address.s3_endpoint_url or "", address.s3_access_key or "", address.s3_secret_key or "").client()
    yield from in_bucket(client, yard.ground.namespace)
    images = open_images(address, home)
    before = [pull_image(name, address, home) for name in (str(address.base_image), yard.ground.runner_image)]
    registry, _, prefix = address.registry.partition("/")
    besides = {layer.digest for image in before for layer in image.layers}
    yield from in_images(images, f"http://{registry}", prefix, None, besides)


def test_no_credential_is_anywhere(yard: Yard, searched: Searched) -> None:
    assert set(yard.credentials) == {"database", "artifacts", "registry", "repository", "cluster", "signing"}
    assert {(place, what) for place, what in searched.found if what in yard.credentials} == set()


@pytest.mark.parametrize("what", PLANTED)
def test_one_that_was_planted_is_found(searched: Searched, what: str) -> None:
    assert {place for place, planted in searched.found if planted == what} >= PLACES[what]


def test_every_kind_of_place_was_searched(searched: Searched) -> None:
    print(*sorted(searched.places), sep="\n")
    steps = {"prepare", "train", "log_to_sacred", "validate", "containerise", "test_image", "push", "deploy"}
    assert steps <= searched.places, "manifests"
    assert "attached to leaky" in searched.places, "signatures, and what is said of an image"
    objects = {"pods", "events", "deployments", "replicasets", "services", "serviceaccounts"}
    assert objects | {"pod log"} <= searched.places
    layers = {"layer environment", "layer server", "layer interpreter"}
    assert layers | {"table rendered_task_instance_fields"} <= searched.places
