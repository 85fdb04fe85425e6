"""A server that is away in the middle of a step: for half a minute it does no harm, for long it is one clear error.

With ``MODELYARD_FAULTS`` every server is away in every step, one after the other; without, all of them at once in one.
"""

from __future__ import annotations

import os
import time
from urllib.parse import urlsplit

import pytest
from tests.away import away
from tests.fixtures_machine import wait_until
from tests.kubernetes.conftest import Yard
from tests.kubernetes.ground import CONNECTION, LOGIN
from tests.kubernetes.stepping import altered
from tests.yard import step_records

from modelyard.demo.rest import ENDED, AirflowApi
from modelyard.demo.show import failures
from modelyard.project.write_lock import write_git_entry
from modelyard.steps import plan
from modelyard.store import Store, pipeline_run_id

SECONDS = 30.0
SERVERS = ("cluster", "airflow", "registry", "database", "artifacts", "names")
STEPS = tuple(step.name for step in plan.STEPS)
CASES = (
    [pytest.param(step, (server,), id=f"{step}-{server}") for step in STEPS for server in SERVERS]
    if "MODELYARD_FAULTS" in os.environ
    else [pytest.param("train", SERVERS, id="train")]
)


def ports(yard: Yard) -> dict[str, int]:
    """Return where each server listens."""
    urls = {
        "cluster": yard.ground.core.api_client.configuration.host,
        "airflow": yard.machine.airflow.url,
        "registry": f"http://{yard.ground.store.registry}",
        **yard.ground.behind,
    }
    return {name: urlsplit(url).port or 443 for name, url in urls.items()} | {"names": 53}


@pytest.mark.parametrize(("step", "servers"), CASES)
def test_half_a_minute_does_no_harm(yard: Yard, api: AirflowApi, step: str, servers: tuple[str, ...]) -> None:
    api.wait_for_dag("tiny")
    run = api.trigger("tiny", {"config.pause": 15.0 if step == "train" else 0.0})
    key = pipeline_run_id(yard.ground.store.installation, "tiny", run)
    where = ports(yard)

    def runs() -> bool:
        pod = yard.ground.pods(key).get(step)
        return api.run("tiny", run)["state"] in ENDED or (pod is not None and pod.status.phase == "Running")

    wait_until(runs, 300, f"a pod of {step}")
    assert api.run("tiny", run)["state"] == "running", failures(api, "tiny", run)
    with away(where[server] for server in servers):
        time.sleep(SECONDS)
    assert api.wait("tiny", run, seconds=300) == "success", failures(api, "tiny", run)
    with Store.open(yard.ground.store) as store:
        records = step_records(store, key)
        alias = store.aliases.get("tiny", "production")
        sacred = list(store.mongo[yard.ground.store.database]["runs"].find({"meta.modelyard.pipeline_run": key}))
    print({task.task_id: (task.try_number, task.seconds) for task in api.tasks("tiny", run)})
    assert {record.state for record in records.values()} == {"done"}
    deployed = records["deploy"].result or {}
    assert alias is not None
    assert alias.version == deployed["version"]
    assert [document["status"] for document in sacred if document["status"] != "INTERRUPTED"] == ["COMPLETED"]
    assert yard.ask({"rows": [{"x": 0.9}]})["model_version"] == str(deployed["version"])


@pytest.fixture(scope="module")
def brittle(yard: Yard, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A project whose steps are tried once only."""
    altered(yard.ground, "brittle", tmp_path_factory.mktemp("brittle"), {}, "retries: 0\n")
    return write_git_entry(yard.projects, yard.ground.source("brittle"), CONNECTION, LOGIN)


@pytest.mark.skipif("MODELYARD_FAULTS" not in os.environ, reason="takes minutes: make test-faults")
@pytest.mark.parametrize(
    ("server", "told"),
    [
        ("cluster", "The cluster of 'kubernetes_default' cannot be reached"),
        ("registry", "The registry "),
        ("database", "The database at "),
        ("artifacts", "cannot be reached"),
        ("names", "cannot be reached"),
    ],
)
@pytest.mark.timeout(900)
def test_for_long_it_is_one_clear_error(yard: Yard, api: AirflowApi, brittle: str, server: str, told: str) -> None:
    api.wait_for_dag(brittle)
    run = api.trigger(brittle, {})
    wait_until(lambda: "prepare" in yard.ground.pods(), 300, "a pod of prepare")
    with away([ports(yard)[server]]):
        assert api.wait(brittle, run, seconds=600) == "failed"
        errors = failures(api, brittle, run)
    print(errors)
    assert len(errors) == 1
    assert told in next(iter(errors.values()))
    with Store.open(yard.ground.store) as store:
        assert store.deployments.live(brittle, "production") is None
