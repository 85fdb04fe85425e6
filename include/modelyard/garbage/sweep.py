"""From things that nothing refers to, to their deletion: by way of the list, in small portions."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from modelyard.errors import Unavailable
from modelyard.store.condemned import LEASE, Condemned

_PORTION = 100
_TOLD_EVERY_SECONDS = 5.0


@dataclass(frozen=True)
class Row:
    """What there is of one kind.

    Attributes:
        kind: in words.
        ripe, ripe_bytes: what has been unreferenced for long enough.
        later, later_bytes: what has not.
    """

    kind: str
    ripe: int = 0
    ripe_bytes: int = 0
    later: int = 0
    later_bytes: int = 0


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
                row = rows.get(kind, Row(kind))
                if name in gone:
                    rows[kind] = Row(kind, row.ripe + 1, row.ripe_bytes + size, row.later, row.later_bytes)
                elif name in later:
                    rows[kind] = Row(kind, row.ripe, row.ripe_bytes, row.later + 1, row.later_bytes + size)
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
