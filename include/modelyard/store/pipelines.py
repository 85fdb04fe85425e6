"""Pipeline runs: what each was asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from modelyard.errors import NotFound
from modelyard.store.codec import from_document, to_document
from modelyard.store.records import PipelineRun

if TYPE_CHECKING:
    from modelyard.store.mongo import Database


class Pipelines:
    """Pipeline runs by their id."""

    def __init__(self, database: Database) -> None:
        self._runs = database.collection("pipelines")
        self._counters = database.collection("counters")

    def open(self, run: PipelineRun) -> PipelineRun:
        """Write down a run before its first step, or return it as it was first written.

        What it was asked for never changes. The store gives it its ``sequence``; a higher ``clear_number`` is taken
        over with a new one: whoever clears tasks asks for them now, and now is newer than all that was deployed.
        """
        kept = self._runs.get(run.id)
        if kept is not None and kept["clear_number"] >= run.clear_number:
            return from_document(PipelineRun, kept)
        run = replace(run, sequence=self._counters.increment(f"pipelines/{run.model}"))
        if kept is None and self._runs.insert({"_id": run.id, **to_document(run)}):
            return self.get(run.id)
        older = {"_id": run.id, "clear_number": {"$lt": run.clear_number}}
        self._runs.update(older, {"$set": {"clear_number": run.clear_number, "sequence": run.sequence}})
        return self.get(run.id)

    def get(self, pipeline_run: str) -> PipelineRun:
        """Return a run.

        Raises:
            NotFound: it was never opened.
        """
        document = self._runs.get(pipeline_run)
        if document is None:
            raise NotFound(
                f"The store knows no pipeline run {pipeline_run}", "start it through its DAG, or with: modelyard run"
            )
        return from_document(PipelineRun, document)
