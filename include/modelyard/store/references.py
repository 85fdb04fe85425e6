"""What of artifacts and images the database names: whatever looks like a digest, in any field of any document.

No field has to be known for what it names to be kept, so none can be forgotten, of a later release neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

from modelyard.store.codec import from_document
from modelyard.store.records import PipelineRun, StepRecord

if TYPE_CHECKING:
    from bson.raw_bson import RawBSONDocument

    from modelyard.store.mongo import Database

_DIGEST = re.compile(rb"sha256:([0-9a-f]{64})(?![0-9a-f])")


@dataclass(frozen=True)
class PipelineRecord:
    """A pipeline run with the records of its steps, and every digest that these name.

    Attributes:
        digests: hexadecimal, as those of :meth:`References.lasting`.
    """

    run: PipelineRun
    steps: dict[str, StepRecord]
    digests: frozenset[str]


class References:
    """Digests (hexadecimal, without ``sha256:``) in a store's documents, and who may be about to write more of them."""

    def __init__(self, database: Database) -> None:
        self._pipelines = database.collection("pipelines")
        self._steps = database.collection("steps")
        self._runs = database.collection("runs")
        self._lasting = [database.collection(name) for name in ("model_versions", "deployments", "aliases", "runs")]

    def lasting(self) -> set[str]:
        """Return the digests that versions, deployments, aliases and Sacred's runs name: these are there for good."""
        return {digest for collection in self._lasting for document in collection.raw({}) for digest in _in(document)}

    def pipelines(self) -> Iterator[PipelineRecord]:
        """Yield every pipeline run that has begun a step."""
        for key, found in groupby(self._steps.raw({}, [("pipeline_run", 1)]), lambda record: record["pipeline_run"]):
            own = list(found)
            for run in self._pipelines.raw({"_id": key}):
                steps = [from_document(StepRecord, dict(record)) for record in own]
                digests = frozenset(digest for document in (run, *own) for digest in _in(document))
                yield PipelineRecord(
                    from_document(PipelineRun, dict(run)), {step.step: step for step in steps}, digests
                )

    def writing_since(self, silent: datetime, besides: str) -> dict[str, datetime]:
        """Return the steps and Sacred runs that are on their way, each with when it began.

        Args:
            silent: those that have given no sign of life since then are taken for dead.
            besides: a step that writes nothing that it would refer to.
        """
        steps = self._steps.find({"state": "running", "heartbeat": {"$gte": silent}, "step": {"$ne": besides}})
        began = {f"step {found['step']} of {found['pipeline_run'][:12]}": found["started_at"] for found in steps}
        alive: dict[str, Any] = {"$or": [{"heartbeat": {"$gte": silent}}, {"start_time": {"$gte": silent}}]}
        for found in self._runs.find({"status": "RUNNING", **alive}):
            began[f"Sacred run {found['_id']}"] = found["start_time"]
        return began


def _in(document: RawBSONDocument) -> Iterator[str]:
    return (found.decode() for found in _DIGEST.findall(document.raw))
