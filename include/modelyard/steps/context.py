"""What a step's function is given, and nothing else: it reads its inputs from here and returns its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from modelyard.credential_places import credential_places
from modelyard.deployment import ClusterAccess
from modelyard.environments import EnvironmentRef, python_of
from modelyard.errors import RequestError
from modelyard.images import ImageStore
from modelyard.steps import results
from modelyard.store import Claim, ModelVersion, PipelineRun, Store
from modelyard.store.artifacts import Artifacts
from modelyard.supply_chain import SigningKey

if TYPE_CHECKING:
    from modelyard.project import DataSet

Result = TypeVar("Result")

_STEP_OF: dict[type[Any], str] = {
    results.Prepared: "prepare",
    results.Trained: "train",
    results.Logged: "log_to_sacred",
    results.Validated: "validate",
    results.Containerised: "containerise",
    results.ImageTested: "test_image",
    results.Pushed: "push",
    results.Deployed: "deploy",
}


@dataclass(frozen=True)
class StepContext:
    """One try of one step.

    Attributes:
        claim: ``claim.check()`` before a write that cannot be taken back: it raises Fenced when a newer try runs.
        workdir: an empty folder of this try's own, gone afterwards.
        home: this machine's folder for caches and local services.
        beside: base URL (``http://127.0.0.1:40111``) of each image that serves beside this step, by its name.
        git: user name and token of the project's Git repository, for `prepare` alone.
        runner_image: name of the image that steps run in; None where they are processes of a machine. For `prepare`,
            which makes an image of it for those that run the project's code, and for the steps that deploy: beside a
            server the shipper of its prediction log may run in it.
        log: one line for the task's log.
        signing: the key for the step that signs; None for all others, and where nothing is signed.
        builder: what builds a project's Dockerfile: a folder shared with the builder beside this step, or
            ``dockerfile.builder.ENGINE``; None where nothing does.
        cluster: of the environment, for the steps that deploy; None when it names no connection.
    """

    store: Store
    images: ImageStore
    run: PipelineRun
    claim: Claim
    workdir: Path
    home: Path
    beside: Mapping[str, str]
    git: tuple[str, str] | None
    log: Callable[[str], None]
    cluster: ClusterAccess | None = None
    signing: SigningKey | None = None
    runner_image: str | None = None
    builder: str | None = None

    @property
    def hidden(self) -> tuple[Path, ...]:
        """Where credentials may lie on this machine: closed to every process that this step starts for a project."""
        return credential_places(self.home)

    def result(self, of: type[Result]) -> Result:
        """Return what an earlier step of this pipeline run left.

        Raises:
            RequestError: that step has not finished.
        """
        step = _STEP_OF[of]
        record = self.store.steps.get(self.run.id, step)
        if record is None or record.state != "done" or record.result is None:
            raise RequestError(
                f"Step '{step}' of this run has left no result",
                f"run '{step}' first: clear it in Airflow, or start the pipeline again",
            )
        return of(**record.result)

    def version(self) -> ModelVersion:
        """Return the version this run is about: the one it registered, or the candidate it was asked to release."""
        number = self.result(results.Prepared).version
        if number is None:
            number = self.result(results.Logged).version
        return self.store.versions.get(self.run.model, number)

    def data_uri(self, name: str, declared: DataSet) -> str:
        """Return where a run has a data set from: its Param, or model.yaml.

        Whole, for who fetches it: it is kept in no step's record, and ``uri.shown`` is what may be told of it.
        """
        return str(self.run.params.get(f"data.{name}") or declared.uri)

    def python(self, environment: dict[str, Any]) -> Path:
        """Return the interpreter of a project's environment; where no image has it, it is unpacked on this machine."""
        return python_of(EnvironmentRef(**environment), self.images, self.home)

    def unpack_project(self, tree_digest: str) -> Path:
        """Unpack the project's tree into a folder of this try's own and return it."""
        folder = self.workdir / "project"
        unpack_project(self.store.artifacts, tree_digest, folder)
        return folder


def unpack_project(artifacts: Artifacts, tree_digest: str, folder: Path) -> None:
    """Unpack a project's tree into the new ``folder``.

    Raises:
        NotFound: the store does not have it; CorruptArtifact: it has other bytes.
    """
    from modelyard.sources import unpack_tree

    folder.mkdir()
    with artifacts.open(tree_digest) as tree:
        unpack_tree(tree, folder)
        tree.read()  # a tar may end before its file does, and the digest is checked at the file's end
