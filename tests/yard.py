"""What tests of the whole line work with: a store, a folder of this machine, and a service to ask."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dulwich import porcelain

from modelyard.execution import Command
from modelyard.execution.local import LocalStep
from modelyard.project.lock import read_lock
from modelyard.project.write_lock import write_lock
from modelyard.steps import plan
from modelyard.steps.local_run import run_pipeline
from modelyard.store import StepRecord, Store, StoreAddress
from modelyard.supply_chain import SigningKey

EXAMPLES = Path(__file__).parents[1] / "include" / "examples"


@dataclass
class Yard:
    """A store of its own, and a machine's folder that shares only built environments with other tests.

    Attributes:
        lines: what the last run printed, ``step: line``.
        pipeline_run: the last run's key.
        watch: called with each line as it comes.
        signing: the key that images are signed with.
    """

    address: StoreAddress
    home: Path
    lines: list[str] = field(default_factory=list)
    pipeline_run: str = ""
    watch: Callable[[str], None] | None = None
    signing: SigningKey | None = None

    def run(self, project: Path, **params: Any) -> int:
        """Take a project through the pipeline and return its exit code; dots in Params are written as ``__``."""
        self.lines.clear()
        lock = read_lock(project) | {"source": {"folder": str(project)}}
        conf = {key.replace("__", "."): value for key, value in params.items()}
        self.pipeline_run, code = run_pipeline(lock, conf, self.address, self.home, self._take, signing=self.signing)
        return code

    def go_on(self, pipeline_run: str) -> int:
        """Give every step of a run its next try, which finds what is done already; return as :meth:`run` does."""
        self.lines.clear()
        with self.open() as store:
            run = store.pipelines.get(pipeline_run)
            for step in plan.STEPS:
                before = store.steps.get(run.id, step.name)
                number = 1 if before is None else before.try_number + 1
                beside = plan.beside(step.name, run, store)
                command = Command(step.name, run.id, try_number=number, beside=beside)
                code = LocalStep(command, self.address, self.home, partial(self._take, step.name)).run()
                if code != 0:
                    return code
        return 0

    def _take(self, step: str, line: str) -> None:
        self.lines.append(f"{step}: {line}")
        if self.watch is not None:
            self.watch(self.lines[-1])

    @property
    def said(self) -> str:
        """Everything the last run printed."""
        return "\n".join(self.lines)

    def open(self) -> Store:
        """Open the store."""
        return Store.open(self.address)


def step_records(store: Store, pipeline_run: str) -> dict[str, StepRecord]:
    """Return the record of every step of a run that was begun, by step."""
    found = ((step.name, store.steps.get(pipeline_run, step.name)) for step in plan.STEPS)
    return {name: record for name, record in found if record is not None}


def commit(folder: Path) -> str:
    """Commit everything in a project and return the commit's hash."""
    porcelain.add(folder)
    who = b"Tester <tester@example.com>"
    return porcelain.commit(folder, b"As it is", author=who, committer=who).decode()


def change(yard: Yard, project: Path, file: str, text: Callable[[str], str]) -> None:
    """Change a file of a project, lock it anew and commit."""
    path = project / file
    path.write_text(text(path.read_text()))
    write_lock(project, yard.home, print)
    commit(project)


def ask(address: str, row: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Ask a service for the prediction of one row; return it with the answer's headers."""
    body = json.dumps({"rows": [row]}).encode()
    request = urllib.request.Request(f"{address}/predict", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        prediction: dict[str, Any] = json.load(answer)["predictions"][0]
        return prediction, dict(answer.headers)
