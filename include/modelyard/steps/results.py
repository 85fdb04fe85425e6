"""What each step leaves for the ones after it: one frozen value a step, kept as JSON in the step's record.

Nothing else passes between steps. A field that a step may not have is None, never missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

JSON = dict[str, Any]


@dataclass(frozen=True)
class Prepared:
    """`prepare`: the project at one commit, and the environment of its lock.

    Attributes:
        tree_digest: the project's folder as one deterministic tar in the artifact store.
        commit, dirty, diff_digest: as in ``ModelVersion``.
        committed_at: as there, in ISO 8601.
        lock_digest: of the locked packages; of all that the image was built from, of a project with a Dockerfile.
        environment: ``EnvironmentRef`` as JSON: the environment's layer, by digest, or the project's own image.
        environment_image: full name, by digest, of the image that the steps with the project's code run in; None where
            steps are processes of a machine, and where that code runs in its own image beside them.
        project: model.yaml, resolved and validated, as JSON (``project.Project``).
        config_updates: the Sacred config this run asks for, flat: ``{"model.C": 0.5}``.
        version: the candidate to release without training, or None.
        elsewhere: as ``environment``, for each other platform that the model image is to be for.
    """

    tree_digest: str
    commit: str | None
    committed_at: str | None
    dirty: bool
    diff_digest: str | None
    lock_digest: str
    environment: JSON
    environment_image: str | None
    project: JSON
    config_updates: JSON
    version: int | None
    elsewhere: list[JSON] = field(default_factory=list)


@dataclass(frozen=True)
class Trained:
    """`train`: one finished Sacred run, its model and its data, all in the artifact store.

    Attributes:
        model: ``[ArtifactFile as JSON]`` of the model directory.
        data: ``[DataFingerprint as JSON]``.
        artifacts: other files the run kept, by name: ``ArtifactFile`` as JSON.
    """

    run_id: int
    model: list[JSON]
    data: list[JSON]
    artifacts: dict[str, JSON]
    package_differences: list[str]
    seconds: float


@dataclass(frozen=True)
class Logged:
    """`log_to_sacred`: the registered version."""

    run_id: int
    version: int


@dataclass(frozen=True)
class Validated:
    """`validate`: passed. A refusal is a ``GateFailed`` and leaves its report all the same.

    Attributes:
        report: ``{"html": digest, "json": digest, "data_docs": digest}`` in the artifact store; the last one only
            when a suite was run.
        gates: ``[{"gate", "expected", "found", "production", "passed", "why"}]``, as in the report's table; all but
            ``passed`` are text.
        live: the version in production, None when there is none yet.
        compared_with: that version, when it was scored on the same data, or None.
        not_compared: why it was not, in words; "" when it was, and where nothing is live.
        compiled: the compiled model's ``[ArtifactFile as JSON]``, or None: served as it is.
    """

    version: int
    report: dict[str, str]
    gates: list[JSON]
    live: int | None
    compared_with: int | None
    not_compared: str
    compiled: list[JSON] | None


@dataclass(frozen=True)
class Containerised:
    """`containerise`: the model image, in the staging repository.

    Attributes:
        image_digest: of one for several platforms, the index's.
        layers: ``[{"kind", "digest", "size"}]``, size in bytes as they are kept; each once, whatever the platforms.
        recipe: ``ImageRecipe`` as JSON: what the image was made of.
        platforms: that it is for.
    """

    version: int
    repository: str
    image_digest: str
    layers: list[JSON]
    recipe: JSON
    platforms: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ImageTested:
    """`test_image`: the image answers as the model did at training.

    Attributes:
        not_tested: platforms that the image is for, too, and that nothing here runs.
    """

    version: int
    image_digest: str
    golden: int
    critical: int
    not_tested: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Pushed:
    """`push`: the same digest in the release repository, under its version tag.

    Attributes:
        signed_by: fingerprint of the key; None where nothing is signed.
    """

    version: int
    image_digest: str
    reference: str
    signed_by: str | None = None


@dataclass(frozen=True)
class Deployed:
    """`deploy`: what answers now."""

    version: int
    image_digest: str
    environment: str
    generation: int
    address: str
    replaced: int | None


@dataclass(frozen=True)
class Collected:
    """`gc`: what was found, and deleted if so it was asked for.

    Attributes:
        things, bytes: what had been unreferenced for long enough.
        later, later_bytes: what had not.
    """

    deleted: bool
    things: int
    bytes: int
    later: int
    later_bytes: int
