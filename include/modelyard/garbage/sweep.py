"""From things that nothing refers to, to their deletion: by way of the list, in small portions."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from modelyard.errors import Unavailable
from modelyard.store.condemned import LEASE, Condemned

_PORTION = 100
_TOLD_EVERY_SECONDS = 5.0
NAMED = 20  # things of a kind, the largest


@dataclass(frozen=True)
class Thing:
    """A piece of garbage.

    Attributes:
        name: as its store knows it.
        size: in bytes.
        why: since when it is known to be garbage, or what tells so.
    """

    name: str
    size: int
    why: str


@dataclass(frozen=True)
class Row:
    """What there is of one kind.

    Attributes:
        kind: in words.
        ripe, ripe_bytes: what has been unreferenced for long enough.
        later, later_bytes: what has not.
        things: the largest of both.
    """

    kind: str
    ripe: int = 0
    ripe_bytes: int = 0
    later: int = 0
    later_bytes: int = 0
    things: tuple[Thing, ...] = ()

    def one_more(self, thing: Thing, *, ripe: bool) -> Row:
        """Return the row with a thing counted too."""
        things = (*self.things, thing)
        if len(things) > 2 * NAMED:
            things = largest(things)
        if ripe:
            return replace(self, ripe=self.ripe + 1, ripe_bytes=self.ripe_bytes + thing.size, things=things)
        return replace(self, later=self.later + 1, later_bytes=self.later_bytes + thing.size, things=things)


def row_of(kind: str, found: Mapping[str, int], why: str) -> Row:
    """Return the row of things that are ripe by themselves: size by name."""
    return Row(kind, len(found), sum(found.values()), 0, 0, largest(Thing(*one, why) for one in found.items()))


def largest(things: Iterable[Thing]) -> tuple[Thing, ...]:
    """Return those that are named, the largest first."""
    return tuple(sorted(things, key=lambda thing: (-thing.size, thing.name))[:NAMED])


class Deletion:
    """How far the deletion of a portion has come.

    Attributes:
        on_the_way: what was begun and is not known to have ended: a server may carry it out at any time yet.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.on_the_way: set[str] = set()

    def begin(self, name: str) -> None:
        """Say that a thing is deleted right now.

        Raises:
            Unavailable: it may not be any more, as the claim ends before it could be over.
        """
        if time.monotonic() - self._began > LEASE.total_seconds() / 2:
            raise Unavailable(
                "Deleting takes so long that others may not wait for it any longer",
                "see what slows down the object store or the registry, then collect again: it goes on from there",
            )
        self.on_the_way.add(name)

    def end(self, name: str) -> None:
        """Say that a thing is gone, or that its deletion was refused."""
        self.on_the_way.discard(name)


class Sweep:
    """Takes things that nothing refers to and deletes those that are ripe.

    Args:
        condemned: the list.
        clock: tells the time.
        before: those that were put on it later are not ripe.
        delete: False changes nothing, neither things nor the list.
        log: given a line now and then.
    """

    def __init__(
        self,
        condemned: Condemned,
        clock: Callable[[], datetime],
        before: datetime,
        delete: bool,
        log: Callable[[str], None],
    ) -> None:
        self._condemned = condemned
        self._clock = clock
        self._before = before
        self._delete = delete
        self._log = log
        self._me = uuid.uuid4().hex
        self._told = time.monotonic()

    def run(
        self,
        listed: Mapping[str, datetime],
        found: Iterable[tuple[str, str, int]],
        remove: Callable[[list[str], Deletion], None],
    ) -> list[Row]:
        """Go through things of one sort.

        Args:
            listed: all of this sort that are on the list, read before they were looked for.
            found: name, kind and size in bytes of each that nothing refers to.
            remove: deletes those of these names; tells its second argument of each right before.

        Returns:
            A row a kind. What was ripe and is used again by now is in none.
        """
        rows: dict[str, Row] = {}
        forgotten = dict(listed)
        for portion in _portions(found):
            names = [name for name, _, _ in portion]
            since = {name: forgotten.pop(name, None) for name in names}
            ripe = [name for name, time in since.items() if time is not None and time <= self._before]
            gone = set(self._remove(ripe, remove) if self._delete else ripe)
            later = set(names).difference(ripe)
            if self._delete:
                # By the time of this moment: it may have been used, and pardoned, since this collection began.
                self._condemned.add([name for name in later if since[name] is None], self._clock())
            for name, kind, size in portion:
                if name in gone or name in later:
                    known = since[name]
                    why = (
                        "unreferenced, seen first now"
                        if known is None
                        else f"unreferenced since {known:%Y-%m-%d %H:%M}"
                    )
                    rows[kind] = rows.get(kind, Row(kind)).one_more(Thing(name, size, why), ripe=name in gone)
            self._tell(rows)
        if self._delete:
            self._condemned.clear(forgotten)
        return list(rows.values())

    def _remove(self, ripe: list[str], remove: Callable[[list[str], Deletion], None]) -> list[str]:
        if not ripe:
            return []
        claimed, deletion = self._condemned.claim(ripe, self._before, self._me), Deletion()
        try:
            remove(claimed, deletion)
        except (Exception, SystemExit, KeyboardInterrupt):
            # Whoever wants one of these would wait until the claims end. Where it is not known whether a thing is still
            # going to be deleted, he has to.
            self._condemned.release([name for name in claimed if name not in deletion.on_the_way], self._me)
            raise
        self._condemned.forget(claimed, self._me)
        return claimed

    def _tell(self, rows: Mapping[str, Row]) -> None:
        if self._delete and time.monotonic() - self._told > _TOLD_EVERY_SECONDS:
            self._told = time.monotonic()
            for row in rows.values():
                self._log(f"{row.kind}: {row.ripe:,} deleted so far, {row.ripe_bytes / 1e6:,.1f} MB")


def _portions(found: Iterable[tuple[str, str, int]]) -> Iterator[list[tuple[str, str, int]]]:
    portion: list[tuple[str, str, int]] = []
    for thing in found:
        portion.append(thing)
        if len(portion) == _PORTION:
            yield portion
            portion = []
    if portion:
        yield portion
