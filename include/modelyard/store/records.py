"""What the model store keeps, as values: every record is frozen and made of plain JSON types and datetimes.

Times are timezone-aware UTC. Digests are ``sha256:<64 hex>``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from modelyard.uri import shown

JSON = dict[str, Any]


@dataclass(frozen=True)
class ArtifactFile:
    """One file of a manifest: its path inside the artifact, its digest and its size in bytes."""

    path: str
    digest: str
    size: int


@dataclass(frozen=True)
class DataFingerprint:
    """One data set a run used.

    Attributes:
        name: its name in model.yaml or in ``log_data``.
        role: what it was used for.
        uri: where it came from, without what may be a credential; ``log_data`` for data the code made itself.
        digest: of the file as it is kept in the artifact store (the key to fetch it by).
        size: in bytes.
        rows, columns: None when the file is not a table that Modelyard can read.
        target: the column to be predicted, if named.
        format: ``csv``, ``jsonl``, ``parquet`` or the file's own suffix.
    """

    name: str
    role: Literal["train", "evaluation"]
    uri: str
    digest: str
    size: int
    rows: int | None
    columns: tuple[str, ...] | None
    target: str | None
    format: str

    def __post_init__(self) -> None:
        """Keep of the address what may be shown: a fingerprint goes into the store, onto pages and into provenance."""
        object.__setattr__(self, "uri", shown(self.uri))


@dataclass(frozen=True)
class PipelineRun:
    """One run of a model's pipeline, as it was asked for; written before its first step starts.

    Attributes:
        id: hex sha256 of (installation, dag_id, run_id), see :func:`pipeline_run_id`.
        project: ``{"folder": path}`` or ``{"git": url, "ref": ref, "subfolder": path}``.
        params: the DAG run's Params, conf applied.
        settings: what configuration resolved to for this run (target environment's section, execution mode, …).
        started_by: the person or the schedule, as Airflow knows it.
        clear_number: Airflow's count of how often a person cleared tasks of this run.
        sequence: its place among all runs of this model, given by the store; a later run's is higher. A deployment's
            generation: the newer run wins.
    """

    id: str
    installation: str
    dag_id: str
    run_id: str
    model: str
    project: JSON
    params: JSON
    settings: JSON
    started_by: str
    clear_number: int
    created_at: datetime
    sequence: int = 0


@dataclass(frozen=True)
class StepRecord:
    """What is known of one step of one pipeline run.

    Attributes:
        fence: grows by one with each claim; a write with an older number is refused.
        clear_number: the run's clear number when it was claimed; a higher one runs the step again.
        result: what the step returned (``steps/results.py``), once it is done.
        error: ``{"message", "remedy", "transient"}`` of the last failed try.
    """

    pipeline_run: str
    step: str
    state: Literal["running", "done", "failed"]
    try_number: int
    fence: int
    clear_number: int
    heartbeat: datetime
    started_at: datetime
    finished_at: datetime | None = None
    result: JSON | None = None
    error: JSON | None = None


@dataclass(frozen=True)
class ModelVersion:
    """An immutable version of a model. Only what is said of its image, and ``report``, are filled in later.

    Attributes:
        version: 1, 2, 3, … without gaps being promised.
        run_id: the Sacred run in ``runs``.
        commit: full hash, None when the code was in no Git repository.
        committed_at: when that commit was made; None without one, and for versions from before it was kept.
        dirty: the working tree differed from ``commit``; ``diff_digest`` is the diff in the artifact store.
        project_digest: the project's tree as one deterministic tar in the artifact store.
        lock_digest: of the locked packages; None when the project had no lock.
        environment: ``EnvironmentRef`` as JSON (see environments/), None for a candidate trained outside a pipeline.
        package_differences: packages that were not as the lock says, as sentences; empty when all were.
        model: the model's directory, file by file (``modelyard.json`` among them).
        signature: as in the model's ``modelyard.json``.
        metrics: the last value of each of the run's metrics.
        image_recipe: what the image was made of beside all this: ``ImageRecipe`` as JSON (see images/).
        attached: what lies beside the image: ``supply_chain.release.Attached`` as JSON; None when that is not known.
        created_by: a person's name or ``airflow``; pipeline_run is None outside a pipeline.
    """

    name: str
    version: int
    run_id: int
    commit: str | None
    dirty: bool
    diff_digest: str | None
    project_digest: str
    lock_digest: str | None
    environment: JSON | None
    package_differences: tuple[str, ...]
    data: tuple[DataFingerprint, ...]
    model: tuple[ArtifactFile, ...]
    signature: JSON
    metrics: dict[str, float]
    config: JSON
    created_by: str
    pipeline_run: str | None
    created_at: datetime
    tags: tuple[str, ...] = ()
    committed_at: datetime | None = None
    image_digest: str | None = None
    image_recipe: JSON | None = None
    attached: JSON | None = None
    report: JSON | None = None

    def file(self, path: str) -> ArtifactFile:
        """Return one file of the model's directory; raise KeyError when it has none of this path."""
        return {file.path: file for file in self.model}[path]

    @property
    def model_digest(self) -> str:
        """What identifies the model itself: the digest of its files' paths and digests, in the order of the paths."""
        files = sorted((file.path, file.digest) for file in self.model)
        return f"sha256:{hashlib.sha256(json.dumps(files).encode()).hexdigest()}"


@dataclass(frozen=True)
class VersionPage:
    """Versions found, newest first.

    Attributes:
        after: what to hand to ``find`` for the next page; None on the last one.
    """

    versions: tuple[ModelVersion, ...]
    after: str | None


@dataclass(frozen=True)
class AliasMove:
    """One entry of an alias's history."""

    at: datetime
    by: str
    why: str
    from_version: int | None
    to_version: int | None


@dataclass(frozen=True)
class Alias:
    """A name that points to one version of a model; for each deployment environment there is one of its name.

    Attributes:
        generation: the highest of the deployments that have moved it: none of a lower one moves it any more.
    """

    model: str
    alias: str
    version: int | None
    history: tuple[AliasMove, ...] = field(default=())
    generation: int | None = None


@dataclass(frozen=True)
class Deployment:
    """One attempt to put a version live in an environment; the newest ``live`` one is what serves.

    Attributes:
        generation: the pipeline run's ``sequence``; the target is fenced by it, so that the newest run wins.
        state: ``rolling_out`` → ``live`` → ``replaced``; or ``failed`` (its ``error`` says why), ``superseded``.
        address: where the service answers (``http://127.0.0.1:18000``).
        replaces: the version that the environment's alias pointed to when it began.
        verified_by: fingerprint of the verification key that the image was found signed with before it went live.
    """

    model: str
    environment: str
    generation: int
    version: int
    image_digest: str
    target: str
    state: Literal["rolling_out", "live", "replaced", "failed", "superseded"]
    address: str | None
    by: str
    why: str
    pipeline_run: str | None
    created_at: datetime
    finished_at: datetime | None = None
    error: str | None = None
    replaces: int | None = None
    verified_by: str | None = None


def pipeline_run_id(installation: str, dag_id: str, run_id: str) -> str:
    """Return the key of a pipeline run: equal for equal arguments, different across Airflow installations."""
    return hashlib.sha256(f"{installation}\0{dag_id}\0{run_id}".encode()).hexdigest()
