"""Collections among writers that find, use, name and give up the same few things, in histories drawn by lot."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests import released_models
from tests.integration.garbage.planting import Ground
from tests.integration.garbage.turns import Turns

from modelyard.errors import Unavailable
from modelyard.garbage.collect import collect
from modelyard.images import open_images
from modelyard.images.image import validate
from modelyard.images.layout import Layout
from modelyard.store import Claim, Store, condemned
from modelyard.store.codec import now
from modelyard.store.folder import Folder
from modelyard.store.mongo import Documents

_CONTENTS = 12
_REPOSITORIES = ("environment", "server", "project-image")
_DATABASE = ("insert", "insert_all", "get", "find", "update", "update_all", "delete", "delete_all", "raw")


class _Killed(BaseException):
    """As SIGKILL: nothing is cleaned up by whoever catches errors."""


def sharing(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    turns.at(monkeypatch, Documents, *_DATABASE)
    turns.at(monkeypatch, Folder, "size", "write", "delete", "sizes")
    turns.at(monkeypatch, Layout, "push", "resolve", "pull", "names", "delete", "unlisted", "delete_unlisted")


def collector(ground: Ground, goes_on: Callable[[], bool]) -> Callable[[], None]:
    def act() -> None:
        while goes_on():
            collect(
                ground.store,
                ground.seen or ground.images,
                ground.home,
                patience=timedelta(0),
                delete=True,
                log=lambda _: None,
            )

    return act


def writer(ground: Ground, number: int, times: int, lot: random.Random, wait: Callable[[], None]) -> Callable[[], None]:
    """A step after the other that stores things, or finds them, and then names them for good, or fails.

    Some of them wait in between for longer than it takes to collect twice.
    """

    def act() -> None:
        for turn in range(times):
            run = released_models.pipeline_run(ground.store, "wine", f"{number}.{turn}")
            claim = ground.store.steps.claim(run.id, "train", 1, 0)
            assert isinstance(claim, Claim)
            content = lot.randrange(_CONTENTS)
            file = ground.put(f"content {content}")
            repository = _REPOSITORIES[content % len(_REPOSITORIES)]
            environment = ground.environment(f"lock {content}", repository)["image_digest"]
            for _ in range(lot.choice([0, 0, 0, 100])):
                wait()
            if lot.random() < 0.3:
                run_id = 1000 * number + turn
                ground.store.versions.register(
                    released_models.as_version(
                        run, run_id, model=(file,), environment={"image_digest": environment}, lock_digest=None
                    )
                )
                claim.finish({"run_id": run_id})
                ground.wanted.append(file)
                ground.released.append((repository, environment))
                assert ground.store.artifacts.read(file.digest)
                validate(ground.images.pull(repository, environment))
            else:
                claim.fail(RuntimeError("no"))

    return act


@pytest.mark.parametrize("seed", range(4))
def test_nothing_that_is_named_is_ever_lost(store: Store, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch):
    images = open_images(store.address, tmp_path / "home", pardon=store.pardon_image)
    ground = Ground(store, images, seen=open_images(store.address, tmp_path / "home"))
    for content in range(_CONTENTS):  # of long ago, and on the list by now
        ground.put(f"content {content}")
        ground.environment(f"lock {content}", _REPOSITORIES[content % len(_REPOSITORIES)])
    collector(ground, iter([True, False]).__next__)()
    deleted: list[str] = []
    delete = store.artifacts.delete

    def noting(names: Sequence[str], check: Callable[[str], None]) -> None:
        deleted.extend(names)
        delete(names, check)

    monkeypatch.setattr(store.artifacts, "delete", noting)
    turns, lot, at_work = Turns(seed), random.Random(seed), {1, 2, 3}
    sharing(turns, monkeypatch)

    def work(number: int) -> Callable[[], None]:
        act = writer(ground, number, 8, lot, turns.end)

        def acting() -> None:
            try:
                act()
            finally:
                at_work.remove(number)

        return acting

    turns.play(*(collector(ground, lambda: bool(at_work)) for _ in range(2)), *(work(number) for number in (1, 2, 3)))
    assert len(deleted) > _CONTENTS // 2  # there was something to be lost
    assert len(ground.wanted) >= 2
    collector(ground, iter([True, True, False]).__next__)()
    for file in ground.wanted:
        assert store.artifacts.read(file.digest)
    for repository, digest in ground.released:
        validate(images.pull(repository, digest))


def test_killed_at_any_operation_the_next_one_goes_on(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ground = Ground(store, open_images(store.address, tmp_path / "home"))
    ground.release(1)
    garbage = [ground.put(f"garbage {number}") for number in range(3)]
    left = 0

    def counted(owner: type, name: str) -> None:
        method = getattr(owner, name)

        def dying(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                raise _Killed
            return method(*args, **kwargs)

        monkeypatch.setattr(owner, name, dying)

    for owner, name in [
        *((Documents, name) for name in _DATABASE),
        *((Folder, name) for name in ("delete", "sizes")),
        *((Layout, name) for name in ("delete", "delete_unlisted")),
    ]:
        counted(owner, name)

    killed = 0
    for moment in range(1, 200):
        left = moment
        try:
            ground.collect(days=10 * moment)
        except _Killed:
            killed += 1
            # Time goes on, and with it ends what the killed one had claimed.
            monkeypatch.setattr(condemned, "now", lambda days=moment: now() + timedelta(days=days))
            continue
        if all(not store.artifacts.exists(file.digest) for file in garbage):
            break
    left = -1
    assert killed > 10
    ground.collect(days=3000)
    ground.collect(days=3010)
    assert ground.collect(days=3020).rows == ()
    for file in ground.wanted:
        store.artifacts.read(file.digest)
    for repository, digest in ground.released:
        validate(ground.images.pull(repository, digest))


def test_a_writer_waits_while_what_it_wants_is_being_deleted_and_not_for_ever(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    file = store.artifacts.put_bytes(b"wanted again", "file")
    name = condemned.artifact_name(file.digest)
    store.condemned.add([name], now())
    assert store.condemned.claim([name], now() - timedelta(hours=1), "me") == []  # not yet
    assert store.condemned.claim([name], now() + timedelta(hours=1), "me") == [name]
    assert store.condemned.claim([name], now() + timedelta(hours=1), "another") == []
    looked: list[float] = []

    def sleep(seconds: float) -> None:
        looked.append(seconds)
        if len(looked) == 100:  # its collector was killed, and a quarter of an hour is over
            monkeypatch.setattr(condemned, "now", lambda: now() + condemned.LEASE + timedelta(seconds=1))

    monkeypatch.setattr(condemned, "time", SimpleNamespace(sleep=sleep))
    store.artifacts.put_bytes(b"wanted again", "file")
    assert len(looked) == 100
    assert f"Waiting for garbage collection, which began to delete {name}" in capsys.readouterr().err
    assert store.condemned.since(condemned.ARTIFACT) == {}


def test_a_collector_that_is_too_slow_deletes_nothing_more(ground: Ground, monkeypatch: pytest.MonkeyPatch):
    ground.release(1)
    file = ground.put("garbage")
    ground.collect(days=0)
    monkeypatch.setattr("modelyard.garbage.sweep.LEASE", timedelta(0))
    with pytest.raises(Unavailable, match="collect again"):
        ground.collect(days=8)
    assert ground.store.artifacts.exists(file.digest)


def test_a_deletion_that_fails_midway_holds_up_nobody_for_the_rest(ground: Ground, monkeypatch: pytest.MonkeyPatch):
    """A pipeline is waiting for one of them meanwhile."""
    files = {ground.put(f"garbage {number}").digest: number for number in range(5)}
    ground.collect(days=0)
    got = threading.Event()
    begun: list[str] = []
    delete = ground.store.artifacts.delete

    def pipeline(text: str) -> None:
        ground.put(text)
        got.set()

    def failing(digests: Sequence[str], check: Callable[[str], None]) -> None:
        def last(digest: str) -> None:
            check(digest)
            begun.append(digest)

        delete(digests[:1], check)
        last(digests[1])
        wanted = f"garbage {files[digests[-1]]}"
        threading.Thread(target=pipeline, args=(wanted,)).start()
        assert not got.wait(0.3), "nobody gets what is claimed"
        raise Unavailable("The object store answers 503", "try again")

    monkeypatch.setattr(ground.store.artifacts, "delete", failing)
    with pytest.raises(Unavailable, match="503"):
        ground.collect(days=8)
    assert got.wait(10), "as long as the claims last"
    listed = {one["_id"]: one["until"] for one in ground.store.condemned._list.find({})}
    held = {name.removeprefix(condemned.ARTIFACT) for name, until in listed.items() if until is not None}
    assert begun[0] in held
    assert len(held) == 2, "the one that is gone, and the one of which nobody knows"
    assert len(listed) == 4, "without the one that was wanted"

    monkeypatch.setattr(ground.store.artifacts, "delete", delete)
    monkeypatch.setattr(condemned, "now", lambda: now() + timedelta(days=8))
    ground.collect(days=16)
    left = [digest for digest in files if ground.store.artifacts.exists(digest)]
    assert len(left) == 1, "what was wanted again"
