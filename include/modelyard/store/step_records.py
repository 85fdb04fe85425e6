"""Step records: which process works on a step, and what it left.

Airflow lets one try of a task run at a time, but not every process that it gave up has ended: a pod in a lost node, a
worker behind a broken network. So each claim gets the next fencing number, and a process with an older one can change
nothing any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelyard.errors import Conflict, Fenced, ModelyardError
from modelyard.store.codec import encode, from_document, now
from modelyard.store.records import JSON, StepRecord

if TYPE_CHECKING:
    from modelyard.store.mongo import Database, Documents

_CLAIM_ATTEMPTS = 100


class Steps:
    """Step records by (pipeline run, step)."""

    def __init__(self, database: Database) -> None:
        self._records = database.collection("steps", indexes=[[("pipeline_run", 1)]])

    def claim(self, pipeline_run: str, step: str, try_number: int, clear_number: int) -> Claim | StepRecord:
        """Take over a step, or learn that it is done.

        A newer try takes over at once, whatever state the step is in, and so does the same try again (a pod that was
        restarted): only one of them is meant to live, and it is the one that came last.

        Args:
            pipeline_run: the run's id.
            step: the step's name.
            try_number: Airflow's, growing from 1 over all clears.
            clear_number: the pipeline run's; a higher one than the record's runs a finished step again.

        Returns:
            The record when the step is done in this clear number already, else the claim.

        Raises:
            Fenced: a newer try, or one after a newer clear, has it.
        """
        key = _key(pipeline_run, step)
        for _ in range(_CLAIM_ATTEMPTS):
            document = self._records.get(key)
            if document is None:
                first = {"_id": key, "pipeline_run": pipeline_run, "step": step, "fence": 1}
                if self._records.insert(first | _running(try_number, clear_number)):
                    return Claim(self._records, pipeline_run, step, fence=1)
                continue
            held = (document["clear_number"], document["try_number"])
            if document["state"] == "done" and document["clear_number"] == clear_number:
                return from_document(StepRecord, document)
            if (clear_number, try_number) < held:
                raise _fenced(pipeline_run, step)
            fence: int = document["fence"]
            change = {"$set": {"fence": fence + 1} | _running(try_number, clear_number)}
            if self._records.update({"_id": key, "fence": fence}, change):
                return Claim(self._records, pipeline_run, step, fence + 1)
        raise Conflict(
            f"Step {step} of pipeline run {pipeline_run} is claimed by others again and again",
            "see what starts it: only one try may run at a time",
        )

    def get(self, pipeline_run: str, step: str) -> StepRecord | None:
        """Return what is known of a step, None before its first claim."""
        document = self._records.get(_key(pipeline_run, step))
        return None if document is None else from_document(StepRecord, document)


class Claim:
    """The right to work on a step, until a newer claim takes it.

    Attributes:
        fence: this claim's number.
    """

    def __init__(self, records: Documents, pipeline_run: str, step: str, fence: int) -> None:
        self._records = records
        self.pipeline_run = pipeline_run
        self.step = step
        self.fence = fence

    def heartbeat(self) -> None:
        """Say that this process lives.

        Raises:
            Fenced: a newer claim has taken over.
        """
        self._change({"heartbeat": now()})

    def check(self) -> None:
        """Make sure, right before a write elsewhere, that nobody has taken over.

        Raises:
            Fenced: somebody has.
        """
        document = self._records.get(_key(self.pipeline_run, self.step))
        if document is None or document["fence"] != self.fence:
            raise _fenced(self.pipeline_run, self.step)

    def finish(self, result: JSON) -> None:
        """Mark the step done, with what it leaves for the next ones. The same again is no error.

        Raises:
            Fenced: a newer claim has taken over; nothing was written.
        """
        self._change({"state": "done", "finished_at": now(), "result": encode(JSON, result), "error": None})

    def fail(self, error: BaseException) -> None:
        """Mark this try failed, with the message people read.

        Raises:
            Fenced: a newer claim has taken over; nothing was written.
        """
        if isinstance(error, ModelyardError):
            report = {"message": error.message, "remedy": error.remedy, "transient": error.transient}
        else:
            report = {"message": f"{type(error).__name__}: {error}", "remedy": None, "transient": False}
        self._change({"state": "failed", "finished_at": now(), "error": encode(JSON, report)})

    def _change(self, values: JSON) -> None:
        if not self._records.update({"_id": _key(self.pipeline_run, self.step), "fence": self.fence}, {"$set": values}):
            raise _fenced(self.pipeline_run, self.step)


def _key(pipeline_run: str, step: str) -> str:
    return f"{pipeline_run}:{step}"


def _running(try_number: int, clear_number: int) -> dict[str, Any]:
    time = now()
    return {
        "state": "running",
        "try_number": try_number,
        "clear_number": clear_number,
        "heartbeat": time,
        "started_at": time,
        "finished_at": None,
        "result": None,
        "error": None,
    }


def _fenced(pipeline_run: str, step: str) -> Fenced:
    return Fenced(
        f"A newer try of step {step} has taken over (pipeline run {pipeline_run[:12]})",
        "nothing to do: this process ends, the newer one goes on",
    )
