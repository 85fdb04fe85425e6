"""How an image came to be: the predicate of SLSA's provenance v1, https://slsa.dev/spec/v1.0/provenance.

Made of what the store has recorded, never of the present moment: the same pipeline run says the same again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

import modelyard
from modelyard.images import Image, Index
from modelyard.store.records import DataFingerprint, ModelVersion, PipelineRun
from modelyard.uri import shown

JSON = dict[str, Any]

PREDICATE = "https://slsa.dev/provenance/v1"

# What they mean is in this folder's README.
_BUILD = "https://modelyard.io/pipeline/v1"
_BUILDERS = "https://modelyard.io/installations"


def provenance(
    version: ModelVersion,
    run: PipelineRun,
    image: Image | Index,
    finished: datetime,
    byproducts: Mapping[str, tuple[str, str]],
) -> JSON:
    """Return where the image of a version comes from.

    Args:
        version: the model's.
        run: the pipeline run that has built the image; another one may have trained the model.
        image: what was built.
        finished: when.
        byproducts: by name, the media type and digest of what else came of it.
    """
    return {
        "buildDefinition": {
            "buildType": _BUILD,
            "externalParameters": {"model": run.model, "project": _project(run), "params": _params(run)},
            "internalParameters": {
                "version": version.version,
                "sacredRun": version.run_id,
                "trainedBy": version.created_by,
                "trainedInPipelineRun": version.pipeline_run,
            },
            "resolvedDependencies": list(_dependencies(version, run, image)),
        },
        "runDetails": {
            "builder": {
                "id": f"{_BUILDERS}/{quote(run.installation, safe='')}",
                "version": {"modelyard": modelyard.__version__},
            },
            "metadata": {
                "invocationId": run.id,
                "startedOn": _moment(run.created_at),
                "finishedOn": _moment(finished),
            },
            "byproducts": [
                {"name": name, "mediaType": media_type, "digest": _digest(digest)}
                for name, (media_type, digest) in byproducts.items()
            ],
        },
    }


def _project(run: PipelineRun) -> JSON:
    """Where the project is; of a folder its name alone, since where a person keeps it is nobody else's business."""
    if "folder" in run.project:
        return {"folder": PurePath(run.project["folder"]).name}
    return {name: value for name, value in run.project.items() if value}


def _params(run: PipelineRun) -> JSON:
    """What the run was asked for; of an address of data no more than may be shown to all who get the image."""
    return {
        key: shown(value) if key.startswith("data.") and isinstance(value, str) else value
        for key, value in run.params.items()
    }


def _dependencies(version: ModelVersion, run: PipelineRun, image: Image | Index) -> Iterator[JSON]:
    if version.commit is not None:
        where = {"uri": f"git+{run.project['git']}"} if "git" in run.project else {}
        changed = {"annotations": {"uncommittedChanges": True}} if version.dirty else {}
        yield {"name": "source", **where, "digest": {"gitCommit": version.commit}, **changed}
    yield {"name": "project", "digest": _digest(version.project_digest)}
    said = [one.parsed_manifest.get("annotations", {}) for one in image.images]
    named = {"lock": "io.modelyard.lock", "base image": "org.opencontainers.image.base.digest"}
    for name, annotation in named.items():
        for digest in dict.fromkeys(found[annotation] for found in said if annotation in found):
            yield {"name": name, "digest": _digest(digest)}
    yield from map(_data, version.data)


def _data(data: DataFingerprint) -> JSON:
    where = {"uri": data.uri} if "://" in data.uri else {}
    return {"name": f"data {data.name}", **where, "digest": _digest(data.digest), "annotations": {"role": data.role}}


def _digest(digest: str) -> JSON:
    algorithm, _, value = digest.partition(":")
    return {algorithm: value}


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
