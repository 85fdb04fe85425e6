"""What is kept, and of which runs: see the package's own text for why it is this."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from modelyard.images.repositories import run_in_tag
from modelyard.steps import plan
from modelyard.store import Store
from modelyard.store.references import PipelineRecord

# With this step done, the version itself names all that is needed from then on.
_LAST_TO_READ = "push"


@dataclass(frozen=True)
class Roots:
    """Digests are hexadecimal, without ``sha256:``.

    Attributes:
        lasting: named by versions, deployments, aliases, Sacred's runs, or as a report.
        unfinished: named by steps of unfinished pipeline runs.
        ended: named by steps of runs that have ended; garbage if neither of the two above has them.
        runs: the beginning of the key of every pipeline run, as tags have it, and whether the run is unfinished.
    """

    lasting: frozenset[str]
    unfinished: frozenset[str]
    ended: frozenset[str]
    runs: dict[str, bool]

    def keeps(self, digest: str) -> bool:
        """Whether something refers to ``sha256:…``."""
        name = digest.removeprefix("sha256:")
        return name in self.lasting or name in self.unfinished


def find_roots(store: Store, silent: datetime) -> Roots:
    """Read all references; the unfinished runs' first, because a run may end, and register a version, meanwhile.

    Args:
        store: to read.
        silent: a step that has given no sign of life since then is taken for dead.
    """
    unfinished: set[str] = set()
    ended: set[str] = set()
    reports: set[str] = set()
    runs: dict[str, bool] = {}
    for record in store.references.pipelines():
        goes_on = is_unfinished(record, silent)
        runs[run_in_tag(record.run.id)] = goes_on
        (unfinished if goes_on else ended).update(record.digests)
        validated = record.steps.get("validate")
        if validated is not None and validated.result is not None:
            reports.update(digest.removeprefix("sha256:") for digest in validated.result["report"].values())
    return Roots(frozenset(store.references.lasting() | reports), frozenset(unfinished), frozenset(ended), runs)


def is_unfinished(record: PipelineRecord, silent: datetime) -> bool:
    """Whether a pipeline run works on a step, or waits for its next one, however long: it may ask a person.

    A run that has failed, or whose process has died, is given the same time for another try before it has ended.
    """
    steps = record.steps
    if any(step.state != "done" and (step.finished_at or step.heartbeat) >= silent for step in steps.values()):
        return True
    cleared, last = -1, None
    for step in plan.STEPS:
        found = steps.get(step.name)
        if plan.skipped_because(step.name, record.run.params) is None:
            if found is None or found.clear_number < cleared:
                return last is not None and last.state == "done"  # this one comes next
            cleared, last = max(cleared, found.clear_number), found
        if step.name == _LAST_TO_READ:
            break
    return False
