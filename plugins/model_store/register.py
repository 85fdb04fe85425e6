"""Makes a version of a Sacred run that something else than a model's own pipeline recorded."""

from __future__ import annotations

import tempfile
from pathlib import Path

from modelyard import sources
from modelyard.client.loaded import FACTS
from modelyard.environments import differences, read_lock
from modelyard.errors import RequestError
from modelyard.project import load
from modelyard.recording.candidate import register
from modelyard.store import ModelVersion, Store


def register_run(store: Store, run_id: int, folder: Path, project: Path, by: str) -> ModelVersion:
    """Register a finished run and the model directory it left as the next version of its project's model.

    Args:
        store: has the run, as Sacred's MongoObserver writes it.
        run_id: the run's number.
        folder: the model directory that ``modelyard.log_model`` wrote.
        project: the folder of the code that trained it, with its model.yaml and locked packages.
        by: who is said to have made the version.

    Raises:
        RequestError: the folder is no model directory.
        ProjectError, EnvironmentBuildError: the project is not sound.
        TrainingFailed: the run is not COMPLETED; NotFound: there is none.
        Conflict: the run is a version already, with another model in it.
    """
    if not (folder / FACTS).is_file():
        raise RequestError(
            f"{folder} is no model directory: it has no {FACTS}", "save the model by modelyard.log_model"
        )
    model_yaml, source = load(project), sources.resolve({"folder": str(project)})
    lock = None if model_yaml.lock is None else read_lock(project / model_yaml.lock)
    model = store.artifacts.put_tree(folder)
    facts = store.artifacts.read_json(next(file.digest for file in model if file.path == FACTS))
    with tempfile.TemporaryDirectory(prefix="modelyard-register-") as workdir:
        files = Path(workdir) / "project"
        code = sources.keep(sources.checkout(source, files), files, store.artifacts)
    return register(
        store,
        name=model_yaml.name,
        run_id=run_id,
        model=model,
        data=(),
        artifacts={},
        commit=code.commit,
        committed_at=code.committed_at,
        dirty=code.dirty,
        diff_digest=code.diff_digest,
        project_digest=code.tree_digest,
        lock_digest=None if lock is None else lock.digest,
        environment=None,
        package_differences=[] if lock is None else differences(lock, facts["packages"]),
        created_by=by,
        pipeline_run=None,
        tags=model_yaml.tags,
    )
