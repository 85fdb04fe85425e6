from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from modelyard.errors import Conflict, NotFound, RequestError
from modelyard.store import ArtifactFile, ModelVersion, Store

Make = Callable[..., ModelVersion]


def test_a_version_is_kept_as_it_was_registered(store: Store, a_version: Make):
    registered = store.versions.register(a_version())
    assert store.versions.get("wine", 1) == registered
    kept_time = a_version().created_at.replace(microsecond=123000)
    assert registered == a_version(version=1, created_at=kept_time)


def test_a_run_is_one_version_however_often_it_is_registered(store: Store, a_version: Make):
    first = store.versions.register(a_version())
    assert store.versions.register(a_version(created_by="somebody else")) == first
    with pytest.raises(Conflict, match="wine:1"):
        store.versions.register(a_version(model=(ArtifactFile("model.joblib", f"sha256:{'1' * 64}", 10),)))
    assert store.versions.register(a_version(name="beer")).version == 1
    assert store.versions.names() == ["beer", "wine"]


def test_registering_at_once_gives_each_run_one_number(store: Store, a_version: Make):
    with ThreadPoolExecutor(8) as pool:
        registered = list(pool.map(lambda i: store.versions.register(a_version(run_id=i // 2)), range(24)))
    by_run = {version.run_id: version.version for version in registered}
    assert len({(version.run_id, version.version) for version in registered}) == len(by_run) == 12
    assert sorted(by_run.values()) == list(range(1, 13))  # none is left out
    assert len(store.versions.find(name="wine").versions) == 12


def test_a_lost_counter_gives_no_number_twice(store: Store, a_version: Make):
    for run_id in range(1, 41):
        store.versions.register(a_version(run_id=run_id))
    store.mongo[store.address.database]["counters"].delete_many({})
    assert store.versions.register(a_version(run_id=99)).version == 41


def test_an_image_is_set_once_a_report_is_the_last_one(store: Store, a_version: Make):
    store.versions.register(a_version())
    for _ in range(2):
        assert store.versions.set_image("wine", 1, "sha256:one").image_digest == "sha256:one"
    with pytest.raises(Conflict, match="sha256:one"):
        store.versions.set_image("wine", 1, "sha256:two")
    store.versions.set_report("wine", 1, {"html": "sha256:a", "passed": False})
    assert store.versions.set_report("wine", 1, {"html": "sha256:b"}).report == {"html": "sha256:b"}
    for call in (store.versions.set_image, store.versions.set_report):
        with pytest.raises(NotFound, match="no version 9"):
            call("wine", 9, "x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("conditions", "numbers"),
    [
        ({}, [6, 5, 4, 3, 2, 1]),
        ({"name": "beer"}, []),
        ({"name": []}, []),
        ({"name": ["beer", "cider"]}, []),
        ({"name": ["beer", "wine"]}, [6, 5, 4, 3, 2, 1]),
        ({"name": ["beer", "wine"], "tag": "even"}, [6, 4, 2]),
        ({"tag": "even"}, [6, 4, 2]),
        ({"metric": {"accuracy": (3 / 8, None)}}, [6, 5, 4, 3]),
        ({"metric": {"accuracy": (2 / 8, 4 / 8), "val.loss": (None, 0.5)}}, [4, 3, 2]),
        ({"metric": {"missing": (None, None)}}, []),
        ({"metric": {"val.loss": (None, None)}, "tag": "even"}, [6, 4, 2]),
        ({"parameter": {"model.C": 2}}, [2]),
        ({"parameter": {"model.C": 2.0, "kind": "tree"}}, [2]),
        ({"parameter": {"model.C": "2"}}, []),
        ({"parameter": {"kind": "tree"}, "tag": "even", "name": "wine"}, [6, 4, 2]),
        ({"commit": "a4"}, [4]),
        ({"commit": "a"}, [6, 5, 4, 3, 2, 1]),
        ({"state": "candidate"}, [6, 4, 3, 2, 1]),
        ({"state": "released"}, [5]),
        ({"state": "live"}, []),
    ],
)
def test_versions_are_found_by_every_condition(
    store: Store, a_version: Make, conditions: dict[str, Any], numbers: list[int]
):
    for i in range(1, 7):
        store.versions.register(
            a_version(
                run_id=i,
                commit=f"a{i}" + "0" * 38,
                tags=("even",) if i % 2 == 0 else (),
                metrics={"accuracy": i / 8, "val.loss": 0.5},
                config={"model": {"C": float(i)}, "kind": "tree"},
                created_at=a_version().created_at + timedelta(days=i * i),
            )
        )
    store.versions.set_image("wine", 5, "sha256:x")
    assert [version.version for version in store.versions.find(**conditions).versions] == numbers


def test_versions_are_found_by_time_and_by_what_serves(store: Store, a_version: Make):
    start = a_version().created_at
    for i in range(1, 5):
        store.versions.register(a_version(run_id=i, created_at=start + timedelta(days=i)))
    day = [start + timedelta(days=i) for i in range(6)]
    assert [v.version for v in store.versions.find(since=day[2], until=day[4]).versions] == [3, 2]
    live = store.deployments.begin(
        model="wine",
        environment="production",
        generation=1,
        version=2,
        image_digest="sha256:x",
        target="local",
        by="anna",
        why="",
        pipeline_run=None,
    )
    store.deployments.finish(live, "live")
    assert [v.version for v in store.versions.find(state="live").versions] == [2]
    assert store.versions.find(state="live", until=day[2]).versions == ()


def test_pages_hold_everything_once_even_while_versions_are_registered(store: Store, a_version: Make):
    for i in range(1, 8):
        store.versions.register(a_version(run_id=i))  # all of the same microsecond
    seen, after = [], None
    while True:
        page = store.versions.find(name="wine", limit=3, after=after)
        seen += [version.version for version in page.versions]
        if page.after is None:
            break
        after = page.after
        store.versions.register(
            a_version(run_id=100 + len(seen), created_at=a_version().created_at + timedelta(days=1))
        )
    assert seen == [7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize("conditions", [{"commit": "xyz"}, {"after": "x"}, {"state": "dead"}])
def test_an_impossible_condition_is_refused(store: Store, conditions: dict[str, Any]):
    with pytest.raises(RequestError):
        store.versions.find(**conditions)


def test_a_registered_version_is_never_changed_by_another(store: Store, a_version: Make):
    first = store.versions.register(a_version())
    store.versions.register(a_version(run_id=2, metrics={}))
    assert store.versions.get("wine", 1) == first == replace(first)
