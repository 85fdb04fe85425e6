from concurrent.futures import ThreadPoolExecutor

import pytest

from modelyard.errors import Fenced, GateFailed, Unavailable
from modelyard.store import Claim, StepRecord, Store


def claim(store: Store, try_number: int = 1, clear_number: int = 0) -> Claim:
    taken = store.steps.claim("run", "train", try_number, clear_number)
    assert isinstance(taken, Claim)
    return taken


def test_a_done_step_is_not_done_again(store: Store):
    assert store.steps.get("run", "train") is None
    result = {"config_updates": {"model.C": 0.5, "$x": 2**70}, "metrics": [float("inf")]}
    claim(store).finish(result)
    record = store.steps.claim("run", "train", 2, 0)
    assert isinstance(record, StepRecord)
    assert (record.state, record.result, record.try_number) == ("done", result, 1)
    assert store.steps.get("run", "train") == record


def test_a_newer_try_takes_over_and_fences_the_older_process_out(store: Store):
    orphan = claim(store)
    orphan.heartbeat()
    newer = claim(store, try_number=2)
    assert newer.fence == orphan.fence + 1
    for write in (orphan.heartbeat, orphan.check, lambda: orphan.finish({}), lambda: orphan.fail(ValueError())):
        with pytest.raises(Fenced):
            write()
    newer.check()
    newer.finish({"from": "newer"})
    newer.finish({"from": "newer"})
    record = store.steps.get("run", "train")
    assert record is not None
    assert record.result == {"from": "newer"}


def test_an_orphan_cannot_claim_back(store: Store):
    claim(store, try_number=3, clear_number=1)
    for try_number, clear_number in ((2, 1), (9, 0)):
        with pytest.raises(Fenced):
            store.steps.claim("run", "train", try_number, clear_number)


def test_the_same_try_started_again_takes_over(store: Store):
    before = claim(store)
    claim(store).check()
    with pytest.raises(Fenced):
        before.check()


def test_a_clear_runs_a_done_step_again(store: Store):
    claim(store).finish({})
    again = claim(store, try_number=2, clear_number=1)
    record = store.steps.get("run", "train")
    assert record is not None
    assert (record.state, record.fence, record.result) == ("running", again.fence, None)


def test_a_failure_keeps_what_people_read_until_the_next_try(store: Store):
    claim(store).fail(GateFailed("accuracy is 0.8", "train longer"))
    record = store.steps.get("run", "train")
    assert record is not None
    assert record.error == {"message": "accuracy is 0.8", "remedy": "train longer", "transient": False}
    assert record.finished_at is not None
    claim(store, try_number=2).fail(Unavailable("no database", "start it"))
    claim(store, try_number=3).fail(KeyError("x"))
    record = store.steps.get("run", "train")
    assert record is not None
    assert record.error == {"message": "KeyError: 'x'", "remedy": None, "transient": False}


def test_of_many_claims_at_once_each_has_its_own_fence_and_one_is_left(store: Store):
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: claim(store), range(24)))
    assert sorted(one.fence for one in claims) == list(range(1, 25))
    newest = max(claims, key=lambda one: one.fence)
    newest.finish({})
    for one in claims:
        if one is not newest:
            with pytest.raises(Fenced):
                one.finish({})
