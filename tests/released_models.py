"""Versions, runs and deployments in a store, as pipeline runs leave them, without training anything."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from modelyard.store import ArtifactFile, DataFingerprint, ModelVersion, PipelineRun, Store, pipeline_run_id

DIGEST = "sha256:" + "ab" * 32
START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def image_of(version: int) -> str:
    """Return the digest of a released version's image."""
    return f"sha256:{hashlib.sha256(f'image {version}'.encode()).hexdigest()}"


def sacred_run(store: Store, run_id: int, pipeline_run: str | None = None, **changes: Any) -> int:
    """Keep a Sacred run with two metrics, as MongoObserver writes it."""
    started = START.replace(tzinfo=None) + timedelta(minutes=run_id)
    stamp = {} if pipeline_run is None else {"pipeline_run": pipeline_run}
    document = {
        "_id": run_id,
        "experiment": {"name": "wine", "dependencies": ["scikit-learn==1.7.2"], "repositories": []},
        "command": "main",
        "host": {"hostname": "node-1", "os": ["Linux", "6.1"], "python_version": "3.11.7"},
        "start_time": started,
        "stop_time": started + timedelta(seconds=12),
        "config": {"model": {"C": 0.5}, "seed": 42},
        "meta": {"command": "main", "modelyard": stamp},
        "status": "COMPLETED",
        "captured_out": "\x1b[32mfitting\x1b[0m <b>the model</b>\n",
        "result": None,
        "info": {},
        **changes,  # of a failed run: fail_trace, which others don't have
    }
    database = store.mongo[store.address.database]
    database["runs"].insert_one(document)
    for name, values in (("accuracy", [0.8, 0.91, 0.97]), ("loss", [0.9, 0.4, 0.2])):
        times = [started + timedelta(seconds=second) for second in range(3)]
        database["metrics"].insert_one(
            {"run_id": run_id, "name": name, "steps": [0, 1, 2], "values": values, "timestamps": times}
        )
    return run_id


def pipeline_run(store: Store, model: str, run_id: str, **changes: Any) -> PipelineRun:
    """Open a pipeline run of a model's DAG."""
    values: dict[str, Any] = {
        "id": pipeline_run_id("default", model, run_id),
        "installation": "default",
        "dag_id": model,
        "run_id": run_id,
        "model": model,
        "project": {"folder": f"/projects/{model}"},
        "params": {"environment": "production"},
        "settings": {"environment": "production", "target": "local", "protected": False, "approval": False},
        "started_by": "ada",
        "clear_number": 0,
        "created_at": START,
    }
    return store.pipelines.open(PipelineRun(**(values | changes)))


def version(store: Store, model: str = "wine", /, run_id: int = 1, **changes: Any) -> ModelVersion:
    """Register a version made by a Sacred run of the pipeline."""
    run = pipeline_run(store, model, f"manual__{run_id}")
    sacred_run(store, run_id, run.id)
    file = store.artifacts.put_bytes(f"model of run {run_id}".encode(), "model.joblib")
    return store.versions.register(as_version(run, run_id, **({"model": (file,)} | changes)))


def as_version(run: PipelineRun, run_id: int, **changes: Any) -> ModelVersion:
    """Return what a pipeline run registers; its number is the store's to give."""
    values: dict[str, Any] = {
        "name": run.model,
        "version": 0,
        "run_id": run_id,
        "commit": "3251d04c2ac7b342c53a6b0f0797ce38af3048614",
        "dirty": False,
        "diff_digest": None,
        "project_digest": DIGEST,
        "lock_digest": DIGEST,
        "environment": None,
        "package_differences": (),
        "data": (fingerprint(ArtifactFile("wine.csv", DIGEST, 4096)),),
        "model": (),
        "signature": {
            "kind": "columns",
            "inputs": [{"name": "ash", "datatype": "FP64", "shape": [-1], "nullable": False}],
            "outputs": [{"name": "prediction", "datatype": "INT64", "shape": [-1]}],
        },
        "metrics": {"accuracy": 0.97, "loss": 0.2},
        "config": {"model": {"C": 0.5}, "seed": 42},
        "created_by": "ada",
        "pipeline_run": run.id,
        "created_at": START + timedelta(minutes=run_id),
        "tags": ("demo",),
    }
    return ModelVersion(**(values | changes))


def fingerprint(file: ArtifactFile) -> DataFingerprint:
    """Return what a version says of the data set it was trained on."""
    return DataFingerprint("wine", "train", "data/wine.csv", file.digest, file.size, 178, ("ash", "hue"), "hue", "csv")


def release(
    store: Store,
    made: ModelVersion,
    environment: str = "production",
    generation: int = 1,
    verified_by: str | None = None,
) -> None:
    """Give a version its image and report, and put it live in an environment."""
    html = store.artifacts.put_bytes(b"<h1>Report</h1><script>document.title='ran'</script>", "report.html")
    store.versions.set_image(made.name, made.version, image_of(made.version))
    store.versions.set_report(made.name, made.version, {"html": html.digest})
    deployment = store.deployments.begin(
        model=made.name,
        environment=environment,
        generation=generation,
        version=made.version,
        image_digest=image_of(made.version),
        target="local",
        by="ada",
        why="better on hue",
        pipeline_run=made.pipeline_run,
    )
    store.deployments.finish(deployment, "live", address="http://127.0.0.1:18000", verified_by=verified_by)
    store.aliases.move(made.name, environment, to=made.version, by="ada", why="better on hue")
