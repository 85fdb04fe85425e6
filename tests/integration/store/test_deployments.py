from concurrent.futures import ThreadPoolExecutor

import pytest

from modelyard.errors import Conflict
from modelyard.store import Deployment, Store


def begin(store: Store, generation: int, version: int = 1) -> Deployment:
    return store.deployments.begin(
        model="wine",
        environment="production",
        generation=generation,
        version=version,
        image_digest=f"sha256:{version}",
        target="local",
        by="anna",
        why="better",
        pipeline_run="run",
    )


def states(store: Store) -> list[tuple[int, str]]:
    return [(one.generation, one.state) for one in store.deployments.history("wine", "production")]


def test_the_newest_that_went_live_is_live(store: Store):
    assert store.deployments.live("wine", "production") is None
    store.deployments.finish(begin(store, 1), "live", address="http://127.0.0.1:18000")
    second = begin(store, 2, version=2)
    before = store.deployments.live("wine", "production")
    assert before is not None
    assert (before.generation, before.address) == (1, "http://127.0.0.1:18000")
    live = store.deployments.finish(second, "live")
    assert store.deployments.live("wine", "production") == live
    assert store.deployments.all_live() == [live]
    assert states(store) == [(2, "live"), (1, "replaced")]


def test_a_failed_one_leaves_the_previous_one_live_and_can_be_tried_again(store: Store):
    store.deployments.finish(begin(store, 1), "live")
    second = begin(store, 2, version=2)
    failed = store.deployments.finish(second, "failed", error="did not start")
    assert (failed.state, failed.error) == ("failed", "did not start")
    assert states(store) == [(2, "failed"), (1, "live")]
    again = begin(store, 2, version=2)
    assert (again.state, again.error, again.finished_at) == ("rolling_out", None, None)
    store.deployments.finish(again, "live")
    assert states(store) == [(2, "live"), (1, "replaced")]


def test_a_retry_finds_what_is_live_and_changes_nothing(store: Store):
    live = store.deployments.finish(begin(store, 1), "live", address="http://a")
    assert begin(store, 1) == live
    assert store.deployments.finish(begin(store, 1), "live", address="http://b") == live
    with pytest.raises(Conflict, match="sha256:1"):
        begin(store, 1, version=2)
    with pytest.raises(Conflict, match="is live"):
        store.deployments.finish(live, "failed")


def test_an_older_one_that_comes_late_never_takes_over(store: Store):
    older, newer = begin(store, 1), begin(store, 2, version=2)
    store.deployments.finish(newer, "live")
    assert store.deployments.finish(older, "live").state == "replaced"
    assert store.deployments.finish(older, "superseded").state == "replaced"
    assert states(store) == [(2, "live"), (1, "replaced")]


def test_what_was_live_is_told_once_and_what_never_was_is_not(store: Store):
    store.deployments.finish(begin(store, 1), "live")
    store.deployments.finish(begin(store, 2, version=2), "live")
    store.deployments.finish(begin(store, 3), "live")
    store.deployments.finish(begin(store, 4, version=3), "failed", error="did not start")
    store.deployments.finish(begin(store, 5, version=4), "superseded")
    begin(store, 6, version=5)
    assert store.deployments.served("wine", "production") == [1, 2]
    assert store.deployments.served("wine", "staging") == []


def test_one_that_was_live_and_finds_a_newer_one_in_its_place_was_replaced(store: Store):
    live = store.deployments.finish(begin(store, 1), "live")
    begin(store, 2, version=2)  # it serves already, and has not said so yet
    assert store.deployments.finish(live, "superseded").state == "replaced"


def test_a_removed_service_is_live_no_more(store: Store):
    store.deployments.finish(store.deployments.finish(begin(store, 1), "live"), "replaced")
    assert store.deployments.live("wine", "production") is None


def test_of_many_at_once_the_newest_is_live(store: Store):
    all_of_them = [begin(store, generation) for generation in range(1, 9)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: store.deployments.finish(one, "live"), all_of_them))
    assert states(store) == [(8, "live"), *((generation, "replaced") for generation in range(7, 0, -1))]
