"""Sacred's own run records, read; and the two things Modelyard writes into one.

Sacred writes the whole entry with each heartbeat, so nothing is written into a run before it has a ``stop_time``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from modelyard.errors import Conflict, NotFound
from modelyard.store.codec import Document, now
from modelyard.store.records import ArtifactFile

if TYPE_CHECKING:
    from modelyard.store.mongo import Database

PIPELINE_RUN = "meta.modelyard.pipeline_run"
"""Where a run's record names the pipeline run that started it (Sacred's ``meta_info``)."""


class Runs:
    """Sacred runs by their integer id, as ``MongoObserver`` keeps them in ``runs`` and ``metrics``."""

    def __init__(self, database: Database) -> None:
        self._runs = database.collection("runs", indexes=[[(PIPELINE_RUN, 1)]])
        self._metrics = database.collection("metrics", indexes=[[("run_id", 1)]])

    def prepare(self) -> None:
        """Make the collections that Sacred writes to, with their indexes. Call it before it writes.

        The embedded database hangs when a collection's first document and its first index come at the same moment.
        """
        self._runs.make_indexes()
        self._metrics.make_indexes()

    def get(self, run_id: int) -> Document:
        """Return a run's document.

        Raises:
            NotFound: there is no such run.
        """
        document = self._runs.get(run_id)
        if document is None:
            raise NotFound(f"There is no Sacred run {run_id} in this store", "check the store's address and database")
        return document

    def metrics(self, run_id: int) -> dict[str, dict[str, list[Any]]]:
        """Return every metric of a run by its name: ``steps``, ``values`` and ``timestamps``, equally long."""
        self._metrics.make_indexes()
        found = self._metrics.find({"run_id": run_id}, [("name", 1)])
        return {one["name"]: {key: one[key] for key in ("steps", "values", "timestamps")} for one in found}

    def reference_artifacts(self, run_id: int, artifacts: Mapping[str, ArtifactFile]) -> None:
        """Write into a finished run's ``info.modelyard.artifacts`` which files it made, by name.

        Raises:
            NotFound: there is no such run; Conflict: it has not ended.
        """
        files = [{"name": name, **asdict(file)} for name, file in sorted(artifacts.items())]
        ended = {"_id": run_id, "stop_time": {"$ne": None}}
        if not self._runs.update(ended, {"$set": {"info.modelyard.artifacts": files}}):
            status = self.get(run_id)["status"]
            raise Conflict(f"Sacred run {run_id} is {status}: it has not ended", "wait until it has, or interrupt it")

    def unfinished(self, pipeline_run: str) -> list[int]:
        """Return the runs that a pipeline run started and that have no end: still running, or abandoned."""
        self._runs.make_indexes()
        return [run["_id"] for run in self._runs.find({PIPELINE_RUN: pipeline_run, "stop_time": None}, [("_id", 1)])]

    def completed(self, pipeline_run: str, clear_number: int) -> Document | None:
        """Return the run that a pipeline run has brought to its end since it was last cleared; None without one."""
        self._runs.make_indexes()
        wanted = {PIPELINE_RUN: pipeline_run, "meta.modelyard.clear_number": clear_number, "status": "COMPLETED"}
        return self._runs.first(wanted, [("_id", -1)])

    def interrupt(self, run_id: int, why: str) -> bool:
        """Mark a run whose process is gone as INTERRUPTED; return False, and change nothing, when it has ended.

        Raises:
            NotFound: there is no such run.
        """
        ends = {"status": "INTERRUPTED", "stop_time": now().replace(tzinfo=None), "info.modelyard.interrupted": why}
        if self._runs.update({"_id": run_id, "stop_time": None}, {"$set": ends}):
            return True
        self.get(run_id)
        return False
