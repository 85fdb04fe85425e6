"""Sacred's own MongoObserver, with failing told instead of passed over: whoever drives it tries again."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from modelyard.errors import Fenced
from modelyard.store import Store

with warnings.catch_warnings():
    # Sacred's own affair, and nothing that a reader of the log could do about.
    warnings.filterwarnings("ignore", "pkg_resources is deprecated")
    from sacred.observers import MongoObserver

JSON = dict[str, Any]


class StoreObserver(MongoObserver):  # type: ignore[misc]
    """Writes one run into the store's database, in Sacred's own shape.

    Every event may be given again when it failed: it is in the database once all the same.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(client=store.mongo, db_name=store.address.database)
        self._sources: dict[str, Path] = {}
        self._metrics_kept: dict[str, int] = {}
        self._references: list[JSON] = []

    def started_event(self, *, sources: dict[str, Path], **event: Any) -> int:
        """Insert the run; ``sources`` says where the content of each source file is, by its name."""
        self._sources = sources
        number: int = super().started_event(**event)
        return number

    def save_sources(self, ex_info: JSON) -> list[list[Any]]:
        """Put each source into GridFS, once for all runs that share it."""
        entries = []
        for name, md5 in ex_info["sources"]:
            filename = f"{ex_info['base_dir']}/{name}"
            known = self.fs.find_one({"filename": filename, "md5": md5})
            if known is None:
                with self._sources[name].open("rb") as file:
                    entries.append([name, self.fs.put(file, filename=filename, md5=md5)])
            else:
                entries.append([name, known._id])
        return entries

    def heartbeat_event(self, info: JSON, captured_out: str, beat_time: Any, result: Any) -> None:
        """Save what the run says of itself, and where its metrics are, which only this side knows."""
        if self._references:
            info = {**info, "metrics": self._references}
        super().heartbeat_event(info, captured_out, beat_time, result)

    def log_metrics(self, metrics_by_name: JSON, info: JSON, again: bool = False) -> None:  # noqa: ARG002 - Sacred's
        """Append points to the run's metrics.

        When this was tried before (``again``), it may have succeeded without the answer arriving: look before writing.
        """
        kept = dict(self._metrics_kept)
        for name, points in metrics_by_name.items():
            kept[name] = kept.get(name, 0) + len(points["steps"])
            found = self._metric(name) if again else None
            if found is None or len(found["steps"]) < kept[name]:
                super().log_metrics({name: points}, {"metrics": self._references})
            elif all(reference["name"] != name for reference in self._references):
                self._references.append({"name": name, "id": str(found["_id"])})
        self._metrics_kept = kept

    def add_resource(self, filename: str, md5: str) -> None:
        """Note a file that the run read, as ``resource_event`` does with a file that is here."""
        if [filename, md5] not in self.run_entry["resources"]:
            self.run_entry["resources"].append([filename, md5])
        self.save()

    def save(self) -> None:
        """Write the whole run.

        Raises:
            Fenced: somebody else has closed the run meanwhile: it counts as abandoned.
            pymongo.errors.PyMongoError: not swallowed, unlike in the base class.
        """
        states = {"$in": ["RUNNING", self.run_entry["status"]]}
        result = self.runs.update_one({"_id": self.run_entry["_id"], "status": states}, {"$set": self.run_entry})
        if result.matched_count == 0:
            raise Fenced(
                f"Sacred run {self.run_entry['_id']} was closed by another process while this one was recording it",
                "look at the newer try of this step; this one is of no use any more",
            )

    def final_save(self, attempts: int) -> None:  # noqa: ARG002 - Sacred's
        """Write the whole run; trying again is for the caller."""
        self.save()

    def _metric(self, name: str) -> Any:
        return self.metrics.find_one({"run_id": self.run_entry["_id"], "name": name})
