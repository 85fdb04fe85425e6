"""``modelyard relay``: records the runs of a plain ``python train.py``, which starts it (``client.laptop``)."""

from __future__ import annotations

import getpass
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from modelyard import data, sources
from modelyard.environments import Lock, differences, read_lock
from modelyard.errors import ModelyardError, ProjectError
from modelyard.project import Project, load
from modelyard.recording.candidate import register
from modelyard.recording.recorder import Recorder
from modelyard.recording.run import RecordedRun
from modelyard.store import DataFingerprint, ModelVersion, Store, StoreAddress


def main(fd: int, project: Path, address: StoreAddress) -> int:
    """Record until standard input ends, as it does with the process that started this one; return the exit code.

    Args:
        fd: of a Unix socket that listens.
        project: the folder of the training script.
        address: of the store.
    """
    with (
        Store.open(address) as store,
        tempfile.TemporaryDirectory(prefix="modelyard-relay-") as folder,
        Recorder(
            store,
            _say,
            Path(folder),
            listener=socket.socket(fileno=fd),
            witness=Laptop(store, project, Path(folder)),
        ) as recorder,
    ):
        sys.stdin.buffer.read()
        try:
            recorder.finish("INTERRUPTED", "its process ended without telling how")
        except ModelyardError as error:
            _say(str(error))
            return error.exit_code
    return 0


@dataclass(frozen=True)
class _Snapshot:
    """The project's files as they were when a run started."""

    files: Path
    source: sources.Source


class Laptop:
    """Registers each run that left a model as a candidate of the project it belongs to; a ``recorder.Witness``."""

    def __init__(self, store: Store, project: Path, folder: Path) -> None:
        self._store = store
        self._project = project
        self._folder = folder
        self._snapshots: dict[int, _Snapshot] = {}

    def started(self, run: RecordedRun) -> None:
        """Take the project's files as they are: they may be edited while the run goes on."""
        source = sources.resolve({"folder": str(self._project)})
        files = self._folder / str(run.run_id)
        sources.checkout(source, files)
        self._snapshots[run.run_id] = _Snapshot(files, source)

    def ended(self, run: RecordedRun) -> None:
        """Register the candidate, and say in one line what there is now."""
        if run.status != "COMPLETED":
            _say(f"recorded as run {run.run_id}: {run.status}")
        elif run.model is None:
            _say(f"recorded as run {run.run_id}; it logged no model, so there is no candidate")
        else:
            try:
                version = self._register(run, load(self._project))
            except ProjectError as error:
                _say(f"recorded as run {run.run_id}; no candidate, because the project is not sound:\n{error}")
            else:
                _say(f"recorded as run {run.run_id}, candidate {version.name}:{version.version}")

    def _register(self, run: RecordedRun, project: Project) -> ModelVersion:
        snapshot = self._snapshots[run.run_id]
        lock = self._lock(project)
        code = sources.keep(snapshot.source, snapshot.files, self._store.artifacts)
        return register(
            self._store,
            name=project.name,
            run_id=run.run_id,
            model=run.model or (),
            data=[*self._declared_data(run, project), *run.data],
            artifacts=run.artifacts,
            commit=code.commit,
            committed_at=code.committed_at,
            dirty=code.dirty,
            diff_digest=code.diff_digest,
            project_digest=code.tree_digest,
            lock_digest=None if lock is None else lock.digest,
            environment=None,
            package_differences=[] if lock is None else differences(lock, run.packages),
            created_by=getpass.getuser(),
            pipeline_run=None,
            tags=project.tags,
        )

    def _lock(self, project: Project) -> Lock | None:
        if project.lock is None:
            _say("the packages are not compared with a lock: the project has none that counts")
            return None
        return read_lock(self._project / project.lock)

    def _declared_data(self, run: RecordedRun, project: Project) -> list[DataFingerprint]:
        """Keep the files that the run's config names for the data that model.yaml declares."""
        paths = run.config.get("data")
        found = []
        for name, declared in project.data.items():
            # A relative path is the experiment's own, and so is this process's folder.
            path = Path(str(paths[name])) if isinstance(paths, dict) and paths.get(name) else None
            if path is None or not path.is_file():
                _say(f"data.{name} is no file in the run's config: the candidate does not say what it was")
                continue
            found.append(
                data.fingerprint(path, name=name, role=declared.role, uri=declared.uri, target=declared.target)
            )
            self._store.artifacts.put_file(path)
        return found


def _say(line: str) -> None:
    print(f"modelyard: {line}", file=sys.stderr, flush=True)
