"""The list of what garbage collection has found unreferenced: nothing is deleted before it has been on it for a while.

A writer that wants such a thing again takes it off the list (``pardon``) before it looks whether the thing is there.
The collector deletes what it has claimed on the list, and nothing else. Both are single writes to one document, so one
of the two comes first: either the claim finds nothing and the thing stays, or the writer waits until it is gone, and
writes it anew. No process has to be quick for that. One thing is left to time: a claim ends, so that a collector that
was killed holds up nobody for ever, and a collector must not be frozen for minutes between its last look at the clock
and the request that deletes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from modelyard.store.codec import now

if TYPE_CHECKING:
    from modelyard.store.mongo import Database

LEASE = timedelta(minutes=15)
"""How long a claim holds. No deletion begins in its second half, and none takes so long: requests have limits."""

ARTIFACT, IMAGE = "artifact ", "image "
"""How the names of things begin, by what they are."""

_LOOK_SECONDS = 0.1
_TOLD_EVERY = 100  # looks


def artifact_name(digest: str) -> str:
    """Return the name of an artifact on the list."""
    return f"{ARTIFACT}{digest}"


def image_name(repository: str, digest: str) -> str:
    """Return the name of an image in one repository on the list."""
    return f"{IMAGE}{repository}@{digest}"


class Condemned:
    """Names of things that nothing refers to, each with the time since when it is known."""

    def __init__(self, database: Database) -> None:
        self._list = database.collection("condemned")

    def pardon(self, name: str) -> None:
        """Take a thing off the list, before it is used: from now on it stays, or is gone already.

        Waits while it is being deleted: seconds, or, when the collector was killed or failed at that, until its claim
        ends. What takes longer than seconds is told in the process's log.
        """
        looks = 0
        while (entry := self._list.get(name)) is not None:
            claimed_until = entry["until"]
            if claimed_until is not None and claimed_until > now():
                looks += 1
                if looks % _TOLD_EVERY == 0:
                    print(
                        f"Waiting for garbage collection, which began to delete {name} and has not said that it is "
                        f"gone: until {claimed_until:%H:%M:%S} UTC at the latest",
                        file=sys.stderr,
                        flush=True,
                    )
                time.sleep(_LOOK_SECONDS)
            elif self._list.delete({"_id": name, "until": claimed_until}):
                return

    def since(self, prefix: str) -> dict[str, datetime]:
        """Return the things whose names begin so, each with the time when it was put on the list."""
        found = self._list.find({"_id": {"$gte": prefix, "$lt": f"{prefix}\U0010ffff"}})
        return {entry["_id"]: entry["since"] for entry in found}

    def add(self, names: Iterable[str], since: datetime) -> None:
        """Put things on the list; those that are on it stay as they are."""
        self._list.insert_all([{"_id": name, "since": since, "until": None} for name in names])

    def claim(self, names: Iterable[str], before: datetime, by: str) -> list[str]:
        """Return those of the things that may be deleted now, by the caller alone, until it forgets them.

        Args:
            names: of things.
            before: those that were put on the list after this are not claimed.
            by: who claims them: a word that no other process has.
        """
        time_now = now()
        free = {"$or": [{"until": None}, {"until": {"$lt": time_now}}]}
        listed = {"_id": {"$in": list(names)}, "since": {"$lte": before}}
        self._list.update_all(listed | free, {"$set": {"until": time_now + LEASE, "by": by}})
        return [entry["_id"] for entry in self._list.find({"_id": listed["_id"], "by": by})]

    def forget(self, names: Iterable[str], by: str) -> None:
        """Take things off the list that ``by`` has claimed, and that are gone."""
        self._list.delete_all({"_id": {"$in": list(names)}, "by": by})

    def release(self, names: Iterable[str], by: str) -> None:
        """Leave things on the list that ``by`` has claimed and that are not being deleted: nobody waits for them."""
        self._list.update_all({"_id": {"$in": list(names)}, "by": by}, {"$set": {"until": None, "by": None}})

    def clear(self, names: Iterable[str]) -> None:
        """Take things off the list that are referenced, or not there, unless somebody is deleting them right now."""
        unclaimed: Mapping[str, Any] = {"$or": [{"until": None}, {"until": {"$lt": now()}}]}
        self._list.delete_all({"_id": {"$in": list(names)}} | dict(unclaimed))
