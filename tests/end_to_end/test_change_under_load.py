"""A new version and its rollback, by Airflow, while clients ask without a pause: all they notice is another version."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit

from tests.fixtures_machine import copy_of, example_of, succeed
from tests.load import Load

from modelyard.demo.machine import Machine
from modelyard.demo.rest import AirflowApi
from modelyard.project.write_lock import write_lock
from modelyard.store import Store

AROUND = 1500  # answers before, between and after the changes, at least
ACROSS = 2000  # answers from the trigger of a change until AROUND after its end, at least: many of them during it


def test_no_request_fails_when_a_version_replaces_another_and_is_taken_back(
    machine: Machine, api: AirflowApi, projects: Path
):
    project = copy_of("wine", projects, "wine-steady")
    write_lock(project, machine.home, print)
    first = api.xcom(project.name, succeed(api, project.name, {}), "deploy")
    request = example_of(first["address"])
    with Store.open(machine.store) as store:
        golden = store.artifacts.read_json(store.versions.get(project.name, 1).file("modelyard.json").digest)["golden"]
    right = golden["outputs"]["prediction"][golden["inputs"].index(request["rows"][0])]

    with Load(urlsplit(first["address"]).port or 0, request, lambda _: right) as load:
        load.wait_for(AROUND)
        triggered = time.monotonic()
        second = api.xcom(project.name, succeed(api, project.name, {"config.C": 0.9}), "deploy")
        replaced = time.monotonic()
        load.wait_for(AROUND)
        taken_back = time.monotonic()
        back = {"model": project.name, "version": 1, "environment": "production", "reason": "a test"}
        succeed(api, "modelyard-rollback", back)
        over = time.monotonic()
        load.wait_for(AROUND)
        settled = time.monotonic()
    assert load.failures == []
    for begun, ended in ((triggered, taken_back), (taken_back, settled)):
        assert sum(begun < asked < ended for asked, _ in load.answers) >= ACROSS
    assert {version for asked, version in load.answers if replaced < asked < taken_back} == {second["version"]}
    assert {version for asked, version in load.answers if asked > over} == {1}
