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

        What it was asked for never changes; only a higher ``clear_number`` is taken over. The store gives it its
        ``sequence``.
        """
        if self._runs.update({"_id": run.id}, {"$max": {"clear_number": run.clear_number}}):
            return self.get(run.id)
        run = replace(run, sequence=self._counters.increment(f"pipelines/{run.model}"))
        if not self._runs.insert({"_id": run.id, **to_document(run)}):
            return self.open(run)  # another process was quicker
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
