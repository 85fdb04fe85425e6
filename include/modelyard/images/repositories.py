"""What the repositories and tags are called whose images are made by the pipeline, and unmade by garbage collection.

That of released images has the model's name, its tags are the versions' numbers. Environments are in one of their kind.
"""

from __future__ import annotations

import re
from typing import Final

ENVIRONMENT: Final = "environment"
ENVIRONMENT_IMAGE: Final = "environment-image"
PROJECT_IMAGE: Final = "project-image"  # of a project's own Dockerfile
BASE: Final = "base"
PACKAGES: Final = "packages"  # what is installed in a layer, as it was read from it
OWN: Final = ("server", "runner", "converter")  # environments of Modelyard's own

# As `staging_tag`, `environments.ensure`, `environment_image`, `dockerfile.ensure`, `base` and `supply_chain.packages`
# write them; what a person names is none of these.
STAGING_TAG: Final = re.compile(r"([0-9a-f]{16})-\d+")
RELEASE_TAG: Final = re.compile(r"\d+")
ENVIRONMENT_TAG: Final = re.compile(r"([0-9a-f]{40})-\d+\.\d+-\w+-\w+(?:-glibc[\d.]+)?-(?:zstd|gzip)-\d+")
ENVIRONMENT_IMAGE_TAG: Final = re.compile(r"[0-9a-f]{40}-\d+")
PROJECT_IMAGE_TAG: Final = re.compile(r"[0-9a-f]{40}")
ATTACHED_TAG: Final = re.compile(r"sha256-[0-9a-f]{64}(\.sig)?")
BASE_TAG: Final = re.compile(r"[0-9a-f]{40}-\d+|sha256:[0-9a-f]{64}")  # one with its Python found, and the copy itself
PACKAGES_TAG: Final = re.compile(r"([0-9a-f]{40})-\d+")  # the layer's diff id
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


def staging(model: str) -> str:
    """Return the repository that a model's images are in before they are released."""
    return f"staging/{model}"


def staging_tag(pipeline_run: str, clear_number: int) -> str:
    """Return the tag of the image that a pipeline run has built."""
    return f"{run_in_tag(pipeline_run)}-{clear_number}"


def run_in_tag(pipeline_run: str) -> str:
    """Return what a tag has of a pipeline run's key."""
    return pipeline_run[:16]
