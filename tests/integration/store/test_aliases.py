from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise

import pytest

from modelyard.errors import Conflict, NotFound, Superseded
from modelyard.store import ModelVersion, Store


@pytest.fixture
def store(store: Store, a_version: Callable[..., ModelVersion]) -> Store:
    for run_id in (1, 2, 3):
        store.versions.register(a_version(run_id=run_id))
    return store


def test_an_alias_is_moved_with_its_history(store: Store):
    assert store.aliases.get("wine", "production") is None
    store.aliases.move("wine", "production", to=1, by="anna", why="first")
    moved = store.aliases.move("wine", "production", to=2, by="airflow", why="better", expected=1)
    assert moved == store.aliases.get("wine", "production")
    assert [(move.by, move.why, move.from_version, move.to_version) for move in moved.history] == [
        ("anna", "first", None, 1),
        ("airflow", "better", 1, 2),
    ]
    store.aliases.move("wine", "canary", to=3, by="anna", why="try", expected=None)
    assert [(alias.alias, alias.version) for alias in store.aliases.of("wine")] == [("canary", 3), ("production", 2)]


def test_a_move_tried_again_is_one_move(store: Store):
    for _ in range(2):
        moved = store.aliases.move("wine", "production", to=1, by="anna", why="first", expected=None)
    assert len(moved.history) == 1


def test_an_unexpected_version_and_an_unknown_one_are_refused(store: Store):
    store.aliases.move("wine", "production", to=1, by="anna", why="first")
    for expected in (2, None):
        with pytest.raises(Conflict, match="points to version 1"):
            store.aliases.move("wine", "production", to=3, by="anna", why="", expected=expected)
    with pytest.raises(NotFound):
        store.aliases.move("wine", "production", to=9, by="anna", why="")
    kept = store.aliases.get("wine", "production")
    assert kept is not None
    assert (kept.version, len(kept.history)) == (1, 1)


def test_an_alias_can_be_taken_away_and_given_again(store: Store):
    store.aliases.move("wine", "production", to=1, by="anna", why="first")
    assert store.aliases.move("wine", "production", to=None, by="anna", why="retired").version is None
    assert len(store.aliases.move("wine", "production", to=1, by="anna", why="back", expected=None).history) == 3


def deployed(store: Store, to: int, generation: int) -> int | None:
    return store.aliases.move("wine", "production", to=to, by="run", why="", generation=generation).version


def test_a_deployment_that_comes_late_does_not_move_the_alias_back(store: Store):
    store.aliases.move("wine", "production", to=3, by="anna", why="before there were deployments")
    assert deployed(store, to=1, generation=5) == 1
    assert deployed(store, to=2, generation=6) == 2
    with pytest.raises(Superseded, match="newer deployment, of version 2"):
        deployed(store, to=1, generation=5)
    assert deployed(store, to=2, generation=7) == 2  # it is there already, and now the 7th's
    with pytest.raises(Superseded):
        deployed(store, to=3, generation=6)
    assert deployed(store, to=2, generation=7) == 2
    assert store.aliases.move("wine", "production", to=3, by="anna", why="by hand").generation == 7
    kept = store.aliases.get("wine", "production")
    assert kept is not None
    assert [move.to_version for move in kept.history] == [3, 1, 2, 3]


def test_of_deployments_at_once_the_newest_has_the_alias(store: Store):
    def move(generation: int) -> None:
        with suppress(Superseded):
            deployed(store, to=generation % 3 + 1, generation=generation)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(move, range(1, 25)))
    kept = store.aliases.get("wine", "production")
    assert kept is not None
    assert (kept.version, kept.generation) == (24 % 3 + 1, 24)
    assert all(before.to_version == after.from_version for before, after in pairwise(kept.history))


def test_of_moves_that_expect_the_same_one_wins(store: Store):
    store.aliases.move("wine", "production", to=1, by="anna", why="first")

    def move(to: int) -> bool:
        try:
            store.aliases.move("wine", "production", to=to, by="anna", why="", expected=1)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(move, (2, 3))) == [False, True]
    kept = store.aliases.get("wine", "production")
    assert kept is not None
    assert len(kept.history) == 2


def test_the_history_of_moves_at_once_is_one_unbroken_chain(store: Store):
    with ThreadPoolExecutor(6) as pool:
        list(
            pool.map(
                lambda i: store.aliases.move("wine", "production", to=i % 3 + 1, by=str(i), why=""),
                range(18),
            )
        )
    kept = store.aliases.get("wine", "production")
    assert kept is not None
    steps = [(move.from_version, move.to_version) for move in kept.history]
    assert steps[0][0] is None
    assert all(before[1] == after[0] for before, after in pairwise(steps))
    assert steps[-1][1] == kept.version
