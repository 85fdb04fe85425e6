"""Which store this is: a name that a database has for itself, to be told apart from others with the same bucket."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelyard.store.mongo import Database

_KEY = "store"


class Identity:
    """A database's name for itself, given at its first use and never changed."""

    def __init__(self, database: Database) -> None:
        self._documents = database.collection("identity")

    def get(self) -> str:
        """Return the name: the same to every process that uses this database."""
        kept = self._documents.get(_KEY)
        if kept is None:
            self._documents.insert({"_id": _KEY, "name": uuid.uuid4().hex})
            return self.get()
        return str(kept["name"])
