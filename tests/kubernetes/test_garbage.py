"""Garbage collection as a pod that Airflow starts: told at first, deleted after a while, and nothing that is needed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.fixtures_machine import succeed, wait_until
from tests.integration.garbage import planting
from tests.kubernetes.conftest import Yard
from tests.searching import Seen

from modelyard.demo.rest import AirflowApi
from modelyard.images import open_images
from modelyard.images.image import validate
from modelyard.store import Store
from modelyard.store.condemned import artifact_name, image_name

_DAG = "modelyard-gc"
_RUN = 1000  # of no other test with this store


@pytest.fixture
def planted(yard: Yard, tmp_path: Path) -> Iterator[planting.Ground]:
    with Store.open(yard.ground.store) as store:
        yield planting.Ground(store, open_images(store.address, tmp_path, pardon=store.pardon_image))


def test_what_nothing_refers_to_is_told_and_then_deleted(
    yard: Yard, api: AirflowApi, planted: planting.Ground, tmp_path: Path
):
    store, images = planted.store, planted.images
    planted.release(_RUN)  # what was staged for it, and its compiled model, are garbage from then on
    staged = next(digest for repository, digest in planted.released if repository == "wine")
    files = [planted.put(text) for text in (f"compiled {_RUN}", "nothing names this")]

    looking = open_images(store.address, tmp_path)  # to find an image by the other one pardons it: it is wanted

    def still_staged() -> bool:
        return staged in {looking.resolve("staging/wine", tag) for tag in looking.names("staging/wine")}

    api.wait_for_dag(_DAG)
    api.patch(f"/dags/{_DAG}", {"is_paused": False})  # as a person does once, to have it run every day

    def collect(delete: bool) -> tuple[dict[str, int], str]:
        run = succeed(api, _DAG, {"delete": delete, "older_than": "1h"})
        (task,) = (one for one in api.tasks(_DAG, run) if one.task_id == "gc")  # a slow machine may need two tries
        said = "\n".join(str(one["event"]) for one in api.log(_DAG, run, "gc", task.try_number))
        return api.xcom(_DAG, run, "gc"), said

    first, _ = collect(delete=True)
    assert first["things"] == 0
    names = [*(artifact_name(file.digest) for file in files), image_name("staging/wine", staged)]
    condemned = store.mongo[store.address.database]["condemned"]
    noted = {one["_id"]: one["since"] for one in condemned.find({"_id": {"$in": names}})}
    assert sorted(noted) == sorted(names)
    for name, since in noted.items():  # a while passes, for these alone
        condemned.update_one({"_id": name}, {"$set": {"since": since - timedelta(hours=2)}})

    told, said = collect(delete=False)
    assert (told["deleted"], told["things"]) == (False, 3)
    assert told["bytes"] == sum(file.size for file in files)  # all that was staged is in what was released
    assert "artifacts that nothing refers to" in said
    assert "this was a dry run" in said
    assert all(store.artifacts.exists(file.digest) for file in files)
    assert still_staged()

    with Seen(yard.ground.manifests, 0.3) as seen:
        done, _ = collect(delete=True)
    assert done == told | {"deleted": True}
    assert seen.named("gc"), "a pod it was"
    wait_until(lambda: "gc" not in yard.ground.pods(), 60, "the removal of a pod that has succeeded")
    assert not any(store.artifacts.exists(file.digest) for file in files)
    assert not still_staged()
    for wanted in planted.wanted:
        store.artifacts.read(wanted.digest)
    for repository, digest in planted.released:
        validate(images.pull(repository, digest))
    api.patch(f"/dags/{_DAG}", {"is_paused": True})
