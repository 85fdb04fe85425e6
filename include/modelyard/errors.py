"""Every error Modelyard raises on purpose.

    ModelyardError
    ├── ProjectError            a model project is not sound: a list of problems, each with file, line and remedy
    ├── RequestError            a run was asked for something it cannot do: conf, Params, a version that does not exist
    ├── StoreError              the model store answered, and the answer is no
    │   ├── NotFound            no such version, alias, artifact, run
    │   ├── Conflict            it exists already with other content, or changed meanwhile
    │   ├── Fenced              this process was replaced by a newer try: it must stop, not retry
    │   └── CorruptArtifact     bytes do not have the digest they are kept under
    ├── EnvironmentBuildError   the lock file cannot be turned into an environment
    ├── ImageError              an image, layer or layout is not what it claims to be
    ├── TrainingFailed          the project's own code failed
    ├── GateFailed              data, metrics, critical or golden predictions refuse the model
    ├── DeploymentFailed        the new version was not taken up; the previous one serves
    ├── Superseded              a newer pipeline run has deployed meanwhile
    └── Unavailable             store, registry or target cannot be reached: worth another try

``transient`` says whether trying again can help; the step's process tells its operator by its exit code.
"""

from __future__ import annotations

from dataclasses import dataclass


class ModelyardError(Exception):
    """What was wrong and where, with the remedy on a line of its own.

    Args:
        message: what was wrong, and where (file, key, line, task). Never holds a secret.
        remedy: what the reader can do now, as a sentence; None only when the message says it.
    """

    transient = False
    exit_code = 65  # EX_DATAERR of sysexits.h: trying again cannot help

    def __init__(self, message: str, remedy: str | None) -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(message if remedy is None else f"{message}\n  → {remedy}")


@dataclass(frozen=True)
class Problem:
    """One mistake in a model project.

    Attributes:
        file: path relative to the project folder.
        line: 1-based line, or None where the file as a whole is meant.
        key: dotted path inside the file (``validation.metrics.accuracy``), or "".
        message: what is wrong.
        remedy: what to do.
    """

    file: str
    line: int | None
    key: str
    message: str
    remedy: str

    def __str__(self) -> str:
        """``file:line: key: message`` and the remedy on the next line."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        key = f"{self.key}: " if self.key else ""
        return f"{place}: {key}{self.message}\n  → {self.remedy}"


class ProjectError(ModelyardError):
    """A model project is not sound; ``problems`` lists everything found, not only the first."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems), None)


class RequestError(ModelyardError):
    """A run was asked for something it cannot do."""


class StoreError(ModelyardError):
    """The model store answered, and the answer is no."""


class NotFound(StoreError):
    """No such version, alias, artifact or run."""


class Conflict(StoreError):
    """It exists already with other content, or changed meanwhile."""


class Fenced(StoreError):
    """A newer try of this step has taken over: this process must stop and write nothing more."""


class CorruptArtifact(StoreError):
    """Bytes do not have the digest they are kept under."""


class EnvironmentBuildError(ModelyardError):
    """The lock file cannot be turned into an environment."""


class ImageError(ModelyardError):
    """An image, layer or layout is not what it claims to be, or the registry refuses it."""


class TrainingFailed(ModelyardError):
    """The project's own code failed."""


class GateFailed(ModelyardError):
    """Data, metrics, critical or golden predictions refuse the model; nothing was deployed."""


class DeploymentFailed(ModelyardError):
    """The new version was not taken up; the previous one still serves."""


class Superseded(ModelyardError):
    """A newer pipeline run has deployed meanwhile; this one leaves the target alone."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message, "nothing to do: Models shows what serves now; to have this version after all, start a new run"
        )


class Unavailable(ModelyardError):
    """Store, registry or target cannot be reached."""

    transient = True
    exit_code = 75  # EX_TEMPFAIL of sysexits.h: trying again may help
