"""Model versions: registered once, never changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from modelyard.errors import Conflict, NotFound
from modelyard.store import search
from modelyard.store.codec import Document, encode, from_document, to_document
from modelyard.store.records import JSON, ModelVersion, VersionPage

if TYPE_CHECKING:
    from modelyard.store.mongo import Database

_NUMBER_ATTEMPTS = 100


class Versions:
    """Model versions by (name, number)."""

    def __init__(self, database: Database) -> None:
        self._versions = database.collection(
            "model_versions",
            indexes=search.INDEXES,
            unique=[[("name", 1), ("version", 1)], [("name", 1), ("run_id", 1)]],
        )
        self._deployments = database.collection("deployments")
        self._counters = database.collection("counters")

    def register(self, version: ModelVersion) -> ModelVersion:
        """Keep a finished run as the next version of its model, or return the one it is already.

        Args:
            version: with 0 as its ``version``, and neither image nor report.

        Returns:
            The version as it is kept, with its number; numbers grow, and none is ever given twice.

        Raises:
            Conflict: this run is a version already, with another model in it.
        """
        counter = f"versions/{version.name}"
        for _ in range(_NUMBER_ATTEMPTS):
            kept = self._versions.first({"name": version.name, "run_id": version.run_id})
            if kept is not None:
                self._counters.raise_to(counter, kept["version"])
                return _same(from_document(ModelVersion, kept), version)
            # Counted only when it is there: whoever is killed on the way leaves no gap in the numbers.
            number = self._counters.count(counter) + 1
            place = {"version": number, "order": search.order(version, number)}
            document = to_document(version) | search.fields(version) | place
            if self._versions.insert({"_id": _key(version.name, number)} | document):
                self._counters.raise_to(counter, number)
                return from_document(ModelVersion, document)
            # Another one registers at the same time, or did and was killed before it counted.
            highest = self._versions.first({"name": version.name}, [("version", -1)])
            if highest is not None:
                self._counters.raise_to(counter, highest["version"])
        raise Conflict(
            f"No free version number of '{version.name}' was found in {_NUMBER_ATTEMPTS} attempts",
            "see what else registers versions of it right now, then try again",
        )

    def get(self, name: str, version: int) -> ModelVersion:
        """Return a version.

        Raises:
            NotFound: there is none of this number.
        """
        return from_document(ModelVersion, self._document(name, version))

    def names(self) -> list[str]:
        """Return the name of every model with versions, in alphabetical order."""
        counters = self._counters.find({"_id": {"$gte": "versions/", "$lt": "versions0"}}, [("_id", 1)])
        return [counter["_id"].removeprefix("versions/") for counter in counters]

    def images(self, name: str) -> dict[int, str | None]:
        """Return the digest of every version's image, by number; None of a version that has none."""
        return {found["version"]: found["image_digest"] for found in self._versions.raw({"name": name})}

    def find(
        self,
        *,
        name: str | Collection[str] | None = None,
        tag: str | None = None,
        metric: Mapping[str, tuple[float | None, float | None]] | None = None,
        parameter: Mapping[str, object] | None = None,
        commit: str | None = None,
        state: Literal["candidate", "released", "live"] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> VersionPage:
        """Return a page of the versions that meet every condition, newest first.

        A page does not shift when versions are registered meanwhile.

        Args:
            name: the model's; of several, any one of them.
            tag: one of the version's tags.
            metric: lowest and highest value accepted of each metric, None for no bound.
            parameter: value of each parameter of the config, by dotted path: ``{"model.C": 0.5}``.
            commit: the first characters of the commit's hash, or all.
            state: ``candidate`` (no image yet), ``released`` (has an image) or ``live`` (serves somewhere).
            since: registered then or later.
            until: registered before then.
            limit: most versions on the page.
            after: the previous page's ``after``.

        Raises:
            RequestError: a condition can't be one.
        """
        live = None
        if state == "live":
            serving = self._deployments.find({"state": "live"})
            live = [_key(document["model"], document["version"]) for document in serving]
        before = None if until is None else search.place(search.microseconds(until))
        query = search.Query(
            clauses=search.clauses(name, tag, metric or {}, parameter or {}, commit, state, live),
            before=before if after is None else search.cursor(after),
            since=0 if since is None else search.microseconds(since),
        )
        found = search.page(self._versions, query, limit + 1)
        versions = tuple(from_document(ModelVersion, document) for document in found[:limit])
        return VersionPage(versions, found[limit - 1]["order"] if len(found) > limit else None)

    def set_image(
        self, name: str, version: int, digest: str, recipe: JSON | None = None, attached: JSON | None = None
    ) -> ModelVersion:
        """Keep the digest of a version's image: once; the same again is no error.

        Args:
            name: the model's.
            version: its number.
            digest: of the image.
            recipe: what it was made of; without one it cannot be made again.
            attached: what lies beside it; a signature that was there before stays known.

        Raises:
            NotFound: there is no such version; Conflict: it has another image.
        """
        change: JSON = {"image_digest": digest} | ({} if recipe is None else {"image_recipe": encode(JSON, recipe)})
        if attached is not None:
            before = self.get(name, version).attached or {}
            signed_by = attached["signed_by"] or before.get("signed_by")
            change["attached"] = encode(JSON, attached | {"signed_by": signed_by})
        if not self._versions.update(
            {"_id": _key(name, version), "image_digest": {"$in": [None, digest]}}, {"$set": change}
        ):
            kept = self.get(name, version)
            raise Conflict(
                f"{name}:{version} has the image {kept.image_digest} already, and cannot get {digest}",
                "a version has one image for good: release it as it is, or train a new version",
            )
        return self.get(name, version)

    def set_report(self, name: str, version: int, report: JSON) -> ModelVersion:
        """Keep a version's validation report.

        A version that is validated again, in another pipeline run or after a crash, has the report of the last time;
        earlier ones stay in the artifacts, named by the step records of their runs.

        Raises:
            NotFound: there is no such version.
        """
        self._versions.update({"_id": _key(name, version)}, {"$set": {"report": encode(JSON, report)}})
        return self.get(name, version)

    def _document(self, name: str, version: int) -> Document:
        document = self._versions.get(_key(name, version))
        if document is None:
            raise NotFound(
                f"There is no version {version} of '{name}'", f"see them all with: modelyard versions {name}"
            )
        return document


def _same(kept: ModelVersion, registered: ModelVersion) -> ModelVersion:
    if kept.model != registered.model:
        raise Conflict(
            f"Run {kept.run_id} is {kept.name}:{kept.version} already, with another model in it",
            "train again: what one run made is one version for good",
        )
    return kept


def _key(name: str, version: int) -> str:
    return f"{name}:{version}"
