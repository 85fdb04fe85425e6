"""One run on its way into the store: events are taken at once, and written by a thread that outlasts an outage."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, Literal

from modelyard import data
from modelyard.client.plain import restored
from modelyard.errors import ModelyardError, RequestError, TrainingFailed, Unavailable
from modelyard.recording.spool import FileSpool, Journal
from modelyard.store import ArtifactFile, DataFingerprint, Store

JSON = dict[str, Any]

# While the run goes on, an outage is waited out as long as it takes; after its end only this long.
_PATIENCE_SECONDS = 300.0
_LONGEST_PAUSE = 15.0
# A document of MongoDB ends at 16 MiB, and the output is not all there is to a run.
_MOST_OUTPUT = 4 * 1024 * 1024
_ENDS = {"completed": "COMPLETED", "interrupted": "INTERRUPTED", "failed": "FAILED"}


class RecordedRun:
    """A Sacred run that is being recorded, and what is known of it so far.

    Attributes:
        run_id: its number in the store.
        status: as Sacred calls it; RUNNING until an end was told.
        config: the run's whole configuration.
        packages, python: what it ran with.
        model: the model's directory, file by file; None until it has logged one.
        data: what ``log_data`` was given.
        artifacts: what ``add_artifact`` was given, by name.
    """

    def __init__(self, store: Store, files: FileSpool, journal: Journal, log: Callable[[str], None]) -> None:
        from modelyard.recording.observer import StoreObserver  # takes a second, and registering needs none

        self._store = store
        self._files = files
        self._journal = journal
        self._log = log
        self._observer = StoreObserver(store)
        self._output = ""
        self._ended_at: float | None = None
        self._patience = _PATIENCE_SECONDS
        self._failure: ModelyardError | None = None
        self._writer = threading.Thread(target=self._write, name="modelyard-run")
        self.run_id = 0
        self.status = "QUEUED"
        self.fail_trace: list[str] = []
        self.config: JSON = {}
        self.packages: dict[str, str] = {}
        self.python = ""
        self.model: tuple[ArtifactFile, ...] | None = None
        self.data: list[DataFingerprint] = []
        self.artifacts: dict[str, ArtifactFile] = {}

    @property
    def failed(self) -> bool:
        """Whether it is recorded no further; ``wait`` says why."""
        return self._failure is not None

    def start(self, event: JSON, stamp: JSON, repository: JSON | None) -> int:
        """Insert the run into the store and return its number.

        Args:
            event: what ``RelayObserver.started_event`` sent.
            stamp: goes to the run's ``meta.modelyard``: which pipeline run this is.
            repository: url, commit and dirty state, where there is no Git repository beside the code.

        Raises:
            Unavailable: the store cannot be reached: a run that would be lost had better not start.
            RequestError: the run brings a number of its own that is none.
        """
        if event["run_id"] is not None and not isinstance(event["run_id"], int):
            raise RequestError(
                f"'{event['run_id']}' cannot be a run's number", "leave out --id: the store counts the runs"
            )
        known = restored(event)
        ex_info = {**known["ex_info"], "sources": [(item["name"], item["md5"]) for item in event["sources"]]}
        if repository is not None:
            ex_info["repositories"] = [repository]
        self._store.runs.prepare()
        with self._store.errors():
            self.run_id = self._observer.started_event(
                sources={item["name"]: self._files.path(item["digest"]) for item in event["sources"]},
                ex_info=ex_info,
                command=known["command"],
                host_info=known["host_info"],
                start_time=known["start_time"],
                config=known["config"],
                meta_info={**known["meta_info"], "modelyard": stamp},
                _id=event["run_id"],
            )
        self.config, self.packages, self.python = known["config"], event["packages"], event["python"]
        self.status = "RUNNING"
        self._writer.start()
        return self.run_id

    def take(self, event: JSON) -> None:
        """Take over an event of the run; it is written soon.

        Raises:
            ModelyardError: an earlier one cannot be written, and trying again is of no use.
            ValueError: the event is not what the client sends.
        """
        if self._failure is not None:
            raise self._failure
        _check(event, self._files)
        self._journal.append(event)
        if event["event"] in _ENDS:
            self.status = event.get("status") or _ENDS[event["event"]]
            self.fail_trace = event.get("fail_trace") or []
            self._end()

    def lost(self, status: Literal["INTERRUPTED", "FAILED"], reason: str) -> None:
        """Say that the run's process has ended without telling how; nothing happens when it has told."""
        if self.status == "RUNNING":
            self._log(f"Sacred run {self.run_id} is {status}: {reason}")
            self.status, self.fail_trace = status, [reason]
            now = datetime.now(UTC).replace(tzinfo=None).isoformat()
            self._journal.append(
                {"event": "lost", "stop_time": {"$date": now}, "status": status, "fail_trace": [reason]}
            )
            self._end()

    def wait(self, patience: float = _PATIENCE_SECONDS) -> None:
        """Wait until all that was taken is written.

        Args:
            patience: how many seconds after the run's end an outage of the store is waited out.

        Raises:
            Unavailable: the store has been away for too long.
            ModelyardError: something cannot be written.
        """
        self._patience = patience
        self._end()
        self._writer.join()
        if self._failure is not None:
            raise self._failure

    def _end(self) -> None:
        if self._ended_at is None:
            self._ended_at = time.monotonic()
        self._journal.close()

    def _write(self) -> None:
        for event in self._journal:
            if self._failure is None:  # else only empty the journal
                try:
                    self._persist(event)
                except ModelyardError as error:
                    self._fail(error)
                except Exception as error:  # noqa: BLE001 - whatever it is, `wait` tells it
                    self._fail(
                        TrainingFailed(
                            f"'{event['event']}' cannot be recorded: {type(error).__name__}: {error}",
                            "have the project's code record numbers, texts, and lists and objects of them there",
                        )
                    )

    def _fail(self, error: ModelyardError) -> None:
        self._failure = error
        self._log(f"Sacred run {self.run_id} is not recorded any further: {error}")

    def _persist(self, event: JSON) -> None:
        """Write one event, again and again while the store is away."""
        pause, attempt = 0.5, 0
        while True:
            try:
                with self._store.errors():
                    self._apply(restored(event), attempt > 0)
                return
            except Unavailable as error:
                ended = self._ended_at
                if ended is not None and time.monotonic() - ended > self._patience:
                    raise
                if attempt == 0:
                    self._log(
                        f"Sacred run {self.run_id}: the store is away, what comes is kept here meanwhile: {error}"
                    )
                attempt += 1
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _apply(self, event: JSON, again: bool) -> None:
        observer = self._observer
        match event["event"]:
            case "heartbeat":
                self._output = self._output[: event["captured"]["from"]] + event["captured"]["text"]
                observer.heartbeat_event(event["info"], _bounded(self._output), event["beat_time"], event["result"])
            case "metrics":
                observer.log_metrics(event["metrics"], {}, again)
            case "resource":
                observer.add_resource(event["filename"], event["md5"])
            case "artifact":
                self.artifacts[event["name"]] = self._put(event["digest"], event["name"])
            case "model":
                self.model = tuple(self._put(file["digest"], file["path"]) for file in event["files"])
            case "data":
                self._put(event["digest"], event["name"])
                self._fingerprint(event)
            case "completed":
                # In the same write as the status: whoever finds the run COMPLETED finds what it left.
                observer.run_entry["info"] = {**observer.run_entry["info"], "modelyard": {"left": self._left()}}
                observer.completed_event(event["stop_time"], event["result"])
            case "failed":
                observer.failed_event(event["stop_time"], event["fail_trace"])
            case "interrupted" | "lost":
                observer.run_entry.update({key: event[key] for key in ("fail_trace",) if key in event})
                observer.interrupted_event(event["stop_time"], event["status"])

    def _fingerprint(self, event: JSON) -> None:
        path = self._files.path(event["digest"])
        found = data.fingerprint(path, name=event["name"], role=event["role"], uri="log_data", target=event["target"])
        self.data = [*(known for known in self.data if known.name != found.name), found]

    def _left(self) -> JSON:
        return {
            "model": None if self.model is None else [asdict(file) for file in self.model],
            "data": [asdict(item) for item in self.data],
            "artifacts": [{"name": name, "file": asdict(file)} for name, file in self.artifacts.items()],
            "packages": [{"name": name, "version": version} for name, version in self.packages.items()],
        }

    def _put(self, digest: str, path: str) -> ArtifactFile:
        kept = self._store.artifacts.put_file(self._files.path(digest))
        return ArtifactFile(path, kept.digest, kept.size)


def _check(event: JSON, files: FileSpool) -> None:
    """Look at what other steps rely on: the sender runs a project's code, which may send anything."""
    kind = event["event"]
    if kind == "model":
        for file in event["files"]:
            path = PurePosixPath(file["path"])
            if path.is_absolute() or ".." in path.parts or not path.parts:
                raise ValueError(f"a model's file cannot be called '{path}'")
        facts = [file for file in event["files"] if file["path"] == "modelyard.json"]
        if not facts or json.loads(files.path(facts[0]["digest"]).read_bytes()).get("format") != 1:
            raise ValueError("a model needs a modelyard.json of format 1: train with this version of the client")
    elif kind == "data":
        if event["role"] not in ("train", "evaluation"):
            raise ValueError(f"data can't have the role '{event['role']}'")
    elif kind not in {"heartbeat", "metrics", "resource", "artifact", *_ENDS}:
        raise ValueError(f"there is no event '{kind}'")


def _bounded(output: str) -> str:
    if len(output) <= _MOST_OUTPUT:
        return output
    start, end = output[: _MOST_OUTPUT // 4], output[-_MOST_OUTPUT * 3 // 4 :]
    return f"{start}\n… {len(output) - len(start) - len(end)} characters are left out here …\n{end}"
