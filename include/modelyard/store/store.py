"""The model store: one object that holds its parts."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from modelyard.store.address import StoreAddress
from modelyard.store.aliases import Aliases
from modelyard.store.artifacts import open_artifacts
from modelyard.store.condemned import Condemned, artifact_name, image_name
from modelyard.store.deployments import Deployments
from modelyard.store.identity import Identity
from modelyard.store.pipelines import Pipelines
from modelyard.store.references import References
from modelyard.store.runs import Runs
from modelyard.store.step_records import Steps
from modelyard.store.versions import Versions

if TYPE_CHECKING:
    from pymongo import MongoClient

    from modelyard.store.mongo import Database


class Store:
    """A model store, open. Safe for threads; each process opens its own.

    Attributes:
        address: where it is.
        pipelines, steps: runs of the pipeline and what their steps left.
        versions, aliases, deployments: models, the names that point to them, and where they serve.
        runs: Sacred's own records.
        artifacts: files by their digest.
        identity: which store this is.
        condemned: what garbage collection may delete; whoever wants an image again pardons it first.
        references: what of artifacts and images the database names.
    """

    def __init__(self, address: StoreAddress, database: Database) -> None:
        self.address = address
        self._database = database
        self.pipelines = Pipelines(database)
        self.steps = Steps(database)
        self.versions = Versions(database)
        self.aliases = Aliases(database, self.versions)
        self.deployments = Deployments(database)
        self.runs = Runs(database)
        self.identity = Identity(database)
        self.condemned = Condemned(database)
        self.references = References(database)
        self.artifacts = open_artifacts(address, self._about_to_use)
        self._signed = False

    @classmethod
    def open(cls, address: StoreAddress) -> Self:
        """Open a store; nothing is connected until it is first used.

        Raises:
            StoreError: a part of the address cannot be right.
        """
        from modelyard.store.mongo import Database

        return cls(address, Database(address))

    def _about_to_use(self, digest: str) -> None:
        """Have garbage collection leave a file alone, and know of this store, before anything relies on the file."""
        if not self._signed:
            self.artifacts.sign(self.identity.get(), f"database {self.address.database} at {self.address.mongo_hosts}")
            self._signed = True
        self.condemned.pardon(artifact_name(digest))

    def pardon_image(self, repository: str, digest: str) -> None:
        """Have garbage collection leave an image alone that is about to be used: for ``images.open_images``."""
        self.condemned.pardon(image_name(repository, digest))

    @property
    def mongo(self) -> MongoClient[dict[str, Any]]:
        """The client itself, for Sacred's own observer (``address.database`` names the database)."""
        return self._database.client

    def errors(self) -> AbstractContextManager[None]:
        """Turn the driver's errors into Modelyard's, around what is done with ``mongo``."""
        return self._database.errors()

    def ping(self) -> None:
        """Make sure that database and artifacts answer, and let this user in.

        Raises:
            Unavailable: one of them cannot be reached.
            StoreError: one of them refuses.
        """
        self._database.ping()
        self.artifacts.ping()

    def close(self) -> None:
        """Close every connection. The same again is no error."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
