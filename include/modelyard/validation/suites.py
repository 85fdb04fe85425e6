"""Expectation suites against the run's data sets, in a child process.

The child is Modelyard's own code (:mod:`modelyard.validation.expectations`) without anything worth stealing: a suite
may hold conditions that pandas evaluates. It also keeps Great Expectations' seconds of import beside the scoring of the
model instead of before it, its home folder in ours, and its chatter out of the log.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from modelyard.client.child import confined
from modelyard.errors import GateFailed
from modelyard.store.records import DataFingerprint
from modelyard.validation.gates import Gate

JSON = dict[str, Any]

FOLDER = "expectations"
_MOST_TOLD = 10


@dataclass(frozen=True)
class Failure:
    """One expectation that the data do not meet.

    Attributes:
        told: column, expectation, what was found and where, as a sentence.
        refuses: False for one of severity ``warning`` or ``info``: it is told, and stops nothing.
    """

    told: str
    refuses: bool


@dataclass(frozen=True)
class SuiteResult:
    """A suite on one data set.

    Attributes:
        data: name of the data set.
        expectations, met: how many there are, how many the data meet.
        error: why it could not be run at all, as a sentence; "" otherwise.
    """

    data: str
    expectations: int
    met: int
    failures: tuple[Failure, ...] = ()
    error: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing in it refuses the data."""
        return not self.error and not any(failure.refuses for failure in self.failures)

    @classmethod
    def from_json(cls, value: JSON) -> Self:
        """Read what ``to_json`` wrote."""
        fields = {name: value[name] for name in ("data", "expectations", "met", "error")}
        return cls(**fields, failures=tuple(Failure(**failure) for failure in value["failures"]))

    def to_json(self) -> JSON:
        """Return it as plain JSON, with the verdict for those who only read."""
        return asdict(self) | {"passed": self.passed}


class Suites:
    """Suites that are being run; ``results()`` waits for them."""

    def __init__(self, process: subprocess.Popen[bytes] | None, folder: Path, unused: list[SuiteResult]) -> None:
        self._process = process
        self._folder = folder
        self._unused = unused

    @property
    def docs(self) -> Path | None:
        """The page of the Data Docs, once ``results()`` has returned; None when no suite was run."""
        page = self._folder / "docs.html"
        return page if page.is_file() else None

    def results(self) -> list[SuiteResult]:
        """Return what became of each suite.

        Raises:
            GateFailed: Great Expectations itself broke down.
        """
        if self._process is None:
            return self._unused
        if self._process.wait() != 0:
            last = (self._folder / "log").read_text(errors="replace").strip().splitlines()[-5:]
            raise GateFailed(
                f"Great Expectations broke down with exit code {self._process.returncode}:\n" + "\n".join(last),
                f"run the suites in {FOLDER}/ by hand, with great_expectations as it is pinned here",
            )
        found = json.loads((self._folder / "results.json").read_bytes())
        return [*(SuiteResult.from_json(result) for result in found), *self._unused]


@contextmanager
def running(
    project: Path, data: Sequence[DataFingerprint], files: Mapping[str, Path], hidden: Sequence[Path], folder: Path
) -> Iterator[Suites]:
    """Run every suite of a project while the block runs; what has not ended with it is killed.

    Args:
        project: the project's folder; its suites are ``expectations/DATA-SET.json``.
        data: the data sets of the run. A suite that is named after none of them fails: it would check nothing.
        files: the file of each data set, by name.
        hidden: files and folders that the child shall not read.
        folder: for the child's home, its log, its results, and the Data Docs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    by_name = {fingerprint.name: fingerprint for fingerprint in data}
    jobs, unused = [], []
    for suite in sorted((project / FOLDER).glob("*.json")):
        fingerprint = by_name.get(suite.stem)
        if fingerprint is None:
            known = ", ".join(by_name) or "none"
            error = f"{FOLDER}/{suite.name} is named after no data set of this run (there are: {known})"
            unused.append(SuiteResult(suite.stem, 0, 0, error=error))
        else:
            file = str(files[suite.stem])
            jobs.append({"data": suite.stem, "file": file, "format": fingerprint.format, "suite": str(suite)})
    if not jobs:
        yield Suites(None, folder, unused)
        return
    (folder / "jobs.json").write_text(json.dumps(jobs))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            confined([sys.executable, "-I", "-m", "modelyard.validation.expectations", folder], hidden=hidden),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={
                "PATH": os.defpath,
                "LANG": "C.UTF-8",
                "HOME": str(folder),
                "TMPDIR": str(folder),
                "GX_ANALYTICS_ENABLED": "False",
            },
        )
    try:
        yield Suites(process, folder, unused)
    finally:
        process.kill()
        process.wait()


def gates(results: Sequence[SuiteResult]) -> list[Gate]:
    """Return a line of the table for each data set that has a suite."""
    return [
        Gate(
            f"data {result.data}",
            f"{result.expectations} expectations met" if result.expectations else "its suite runs",
            "not run" if result.error else f"{result.met} met",
            result.passed,
            why="\n".join(_reasons(result)),
        )
        for result in results
    ]


def _reasons(result: SuiteResult) -> list[str]:
    if result.error:
        return [result.error]
    told = [failure.told if failure.refuses else f"warning: {failure.told}" for failure in result.failures]
    if len(told) > _MOST_TOLD:
        told[_MOST_TOLD:] = [f"… and {len(told) - _MOST_TOLD} more, in the report"]
    return told
