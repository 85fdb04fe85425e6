"""The model store: versions, aliases, deployments, step records and artifacts.

Importing it costs nothing: the database driver is loaded when a store is opened, an S3 client when artifacts are in S3.
"""

from __future__ import annotations

from modelyard.store.address import StoreAddress
from modelyard.store.records import (
    Alias,
    AliasMove,
    ArtifactFile,
    DataFingerprint,
    Deployment,
    ModelVersion,
    PipelineRun,
    StepRecord,
    VersionPage,
    pipeline_run_id,
)
from modelyard.store.step_records import Claim
from modelyard.store.store import Store

__all__ = [
    "Alias",
    "AliasMove",
    "ArtifactFile",
    "Claim",
    "DataFingerprint",
    "Deployment",
    "ModelVersion",
    "PipelineRun",
    "StepRecord",
    "Store",
    "StoreAddress",
    "VersionPage",
    "pipeline_run_id",
]
