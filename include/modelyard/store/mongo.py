"""The one place where Modelyard talks to MongoDB: a client, and collections that know a few operations.

Every write is acknowledged by a majority and journaled before it returns, every read is from the primary, and every
error of the driver becomes one of Modelyard's. Only behavior that MongoDB documents is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from bson.codec_options import CodecOptions
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo import IndexModel, MongoClient, ReadPreference, ReturnDocument
from pymongo.collection import Collection
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    WaitQueueTimeoutError,
    WTimeoutError,
)

from modelyard.errors import StoreError, Unavailable
from modelyard.store.address import StoreAddress
from modelyard.store.codec import Document

Order = Sequence[tuple[str, int]]

_SELECTION_MS = 5_000
_SOCKET_MS = 60_000
_AUTHENTICATION_FAILED = 18
_UNAUTHORIZED = 13
_DUPLICATE = 11000


class Database:
    """A store's database. Opens no connection until it is first used; safe for threads, not across a fork."""

    def __init__(self, address: StoreAddress) -> None:
        """Prepare the client.

        Raises:
            StoreError: the URI cannot be one. The message leaves out what is wrong with it: that may be a password.
        """
        self.hosts = address.mongo_hosts
        try:
            self.client: MongoClient[Document] = MongoClient(
                address.mongo_uri,
                appname="modelyard",
                connectTimeoutMS=_SELECTION_MS,
                journal=True,
                serverSelectionTimeoutMS=_SELECTION_MS,
                socketTimeoutMS=_SOCKET_MS,
                tz_aware=True,
                w="majority",
            )
        except (ConfigurationError, InvalidURI, ValueError, TypeError):
            raise StoreError(
                f"The URI of the database at {self.hosts} is not a valid MongoDB URI",
                "percent-encode user name and password, and look up each option in MongoDB's manual",
            ) from None
        self._database = self.client.get_database(address.database, read_preference=ReadPreference.PRIMARY)

    def collection(self, name: str, *, indexes: Sequence[Order] = (), unique: Sequence[Order] = ()) -> Documents:
        """Return a collection; its indexes are made when a process first inserts into it."""
        models = [IndexModel(list(index)) for index in indexes]
        models += [IndexModel(list(index), unique=True) for index in unique]
        return Documents(self, self._database[name], models)

    def ping(self) -> None:
        """Ask the server for an answer that needs the user's rights.

        Raises:
            Unavailable: nobody answers.
            StoreError: user or password are wrong, or have no right to this database.
        """
        with self.errors():
            self._database.command("ping")
            self._database["model_versions"].find_one({}, {"_id": 1})

    def close(self) -> None:
        """Close every connection."""
        self.client.close()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the driver's errors into Modelyard's, without a credential in any of them."""
        try:
            yield
        except (ConnectionFailure, WaitQueueTimeoutError, ExecutionTimeout, WTimeoutError) as error:
            raise self._unavailable(error) from error
        except OperationFailure as error:
            if error.has_error_label("RetryableWriteError"):
                raise self._unavailable(error) from error
            if error.code == _AUTHENTICATION_FAILED:
                raise StoreError(
                    f"The database at {self.hosts} refuses the user name or password",
                    "check both in the store's address, and authSource if the user belongs to another database",
                ) from error
            if error.code == _UNAUTHORIZED:
                raise StoreError(
                    f"The database at {self.hosts} does not let this user do that: {_brief(error)}",
                    "grant the user the role readWrite on the store's database",
                ) from error
            raise StoreError(
                f"The database at {self.hosts} refuses: {_brief(error)}",
                "correct what it names; its own log tells more",
            ) from error
        except (PyMongoError, BSONError, OverflowError) as error:
            raise StoreError(
                f"The database at {self.hosts} cannot take this: {_brief(error)}",
                "record less at once, or in other types: a document has at most 16 MB, an integer 64 bits",
            ) from error

    def _unavailable(self, error: PyMongoError) -> Unavailable:
        return Unavailable(
            f"The database at {self.hosts} cannot be reached: {_brief(error)}",
            "check that it runs, and that address, port and TLS settings are right from where this process runs",
        )


class Documents:
    """One collection, as far as the store needs one."""

    def __init__(self, database: Database, collection: Collection[Document], indexes: list[IndexModel]) -> None:
        self._database = database
        self._collection = collection
        self._indexes = indexes

    def make_indexes(self) -> None:
        """Make the collection's indexes, unless this process has; what is there already costs one question."""
        if self._indexes:
            with self._database.errors():
                self._collection.create_indexes(self._indexes)
            self._indexes = []

    def insert(self, document: Document) -> bool:
        """Add a document; False when another one has its ``_id`` or one of its unique keys."""
        self.make_indexes()
        with self._database.errors():
            try:
                self._collection.insert_one(document)
            except DuplicateKeyError:
                return False
            return True

    def insert_all(self, documents: Sequence[Document]) -> None:
        """Add documents; those whose ``_id`` is there already are left out."""
        if not documents:
            return
        with self._database.errors():
            try:
                self._collection.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                if any(found["code"] != _DUPLICATE for found in error.details["writeErrors"]):
                    raise

    def get(self, key: object) -> Document | None:
        """Return the document of this ``_id``."""
        return self.first({"_id": key})

    def first(self, query: Mapping[str, Any], sort: Order = ()) -> Document | None:
        """Return the first match."""
        return next(iter(self.find(query, sort, limit=1)), None)

    def find(self, query: Mapping[str, Any], sort: Order = (), limit: int = 0) -> list[Document]:
        """Return the matches, all of them when ``limit`` is 0."""
        with self._database.errors():
            return list(self._collection.find(query, sort=list(sort) or None, limit=limit))

    def raw(self, query: Mapping[str, Any], sort: Order = ()) -> Iterator[RawBSONDocument]:
        """Yield the matches as they come, not decoded: a field is when it is looked at, ``.raw`` has all bytes."""
        options: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument, tz_aware=True)
        with self._database.errors():
            yield from self._collection.with_options(codec_options=options).find(query, sort=list(sort) or None)

    def update(self, query: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
        """Change one match, atomically; False when there is none."""
        with self._database.errors():
            return self._collection.update_one(query, change).matched_count == 1

    def update_all(self, query: Mapping[str, Any], change: Mapping[str, Any]) -> int:
        """Change every match, each atomically; return how many there were."""
        with self._database.errors():
            return self._collection.update_many(query, change).matched_count

    def delete(self, query: Mapping[str, Any]) -> bool:
        """Delete one match, atomically; False when there is none."""
        with self._database.errors():
            return self._collection.delete_one(query).deleted_count == 1

    def delete_all(self, query: Mapping[str, Any]) -> None:
        """Delete every match, each atomically."""
        with self._database.errors():
            self._collection.delete_many(query)

    def increment(self, key: str) -> int:
        """Add one to a counter, which begins at 0, and return what it is then: to each caller another number."""
        with self._database.errors():
            while True:
                counter: Any = self._collection.find_one_and_update(
                    {"_id": key}, {"$inc": {"value": 1}}, return_document=ReturnDocument.AFTER
                )
                if counter is not None:
                    return int(counter["value"])
                with suppress(DuplicateKeyError):  # somebody else made it at the same time
                    self._collection.insert_one({"_id": key, "value": 0})

    def count(self, key: str) -> int:
        """Return what a counter is at, 0 if there is none."""
        counter = self.get(key)
        return 0 if counter is None else int(counter["value"])

    def raise_to(self, key: str, value: int) -> None:
        """Raise a counter to ``value``, unless it is there or further already."""
        while not self.update({"_id": key}, {"$max": {"value": value}}):
            self.insert({"_id": key, "value": value})


def _brief(error: Exception) -> str:
    """Return a driver's message without the state of every server, which it adds over many lines."""
    return re.split(r", full error|, Timeout:| \(configured timeouts", str(error), maxsplit=1)[0]
