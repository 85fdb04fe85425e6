"""`prepare`: from what was asked for to a project at one commit and the environment of its lock, or its own image.

Whatever can be refused is refused here, before anything runs: unknown Params, a stale lock, a candidate or a tree
that a protected environment does not take.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard import sources
from modelyard.environments import EnvironmentRef, Lock, ensure, read_lock
from modelyard.errors import ImageError, ProjectError, RequestError
from modelyard.images.interpreter import Interpreter
from modelyard.project import Project, load
from modelyard.project import lock as project_lock
from modelyard.project.load import nearest, without_lock
from modelyard.project.values import check_uri
from modelyard.steps import plan
from modelyard.steps.context import StepContext
from modelyard.steps.results import Prepared
from modelyard.store import ModelVersion, PipelineRun

if TYPE_CHECKING:
    from modelyard.dockerfile.builder import Builder

_PARAMS = ("version", "release", "environment", "reason")


def run(context: StepContext) -> Prepared:
    """Resolve, check and keep the project; build its environment or find it built.

    Raises:
        RequestError: the run asks for what it cannot have; ProjectError: the project is not sound.
        EnvironmentBuildError: its lock cannot be installed, or its Dockerfile cannot be built.
    """
    params = context.run.params
    number = params.get("version")
    candidate = None if number is None else context.store.versions.get(context.run.model, int(number))
    code = _fetch(context) if candidate is None else _of_candidate(context, candidate)
    folder = context.unpack_project(code.tree_digest)
    project = load(folder)
    if project.name != context.run.model:
        raise RequestError(
            f"model.yaml names '{project.name}', this pipeline is of '{context.run.model}'",
            "give the project its own DAG: run `modelyard lock` on it",
        )
    config: list[dict[str, Any]] = []
    if candidate is not None:
        _refuse_config(candidate, params)
    elif stale := project_lock.check_lock(project, folder):
        raise ProjectError(stale)
    else:
        config = project_lock.read_lock(folder)["config"]
    _refuse_unknown(context.run, [entry["path"] for entry in config], project)
    _check_data_uris(context, project)
    _refuse_unprotected(context, code, candidate)

    platforms = _other_platforms(context, project)
    environment = _environment(context, project, folder)
    defaults = {entry["path"]: entry["default"] for entry in config}
    updates = {key.removeprefix("config."): value for key, value in params.items() if key.startswith("config.")}
    return Prepared(
        tree_digest=code.tree_digest,
        commit=code.commit,
        committed_at=None if code.committed_at is None else code.committed_at.isoformat(),
        dirty=code.dirty,
        diff_digest=code.diff_digest,
        lock_digest=environment.lock_digest,
        environment=environment.to_json(),
        environment_image=_image(context, environment),
        project=project.to_json(),
        config_updates={path: value for path, value in updates.items() if value != defaults.get(path)},
        version=None if candidate is None else candidate.version,
        elsewhere=[_elsewhere(context, project, folder, platform).to_json() for platform in platforms],
    )


def _fetch(context: StepContext) -> sources.KeptCode:
    """Put the project's files and the difference to their commit into the store: the same ones for every step."""
    credentials = None if context.git is None else sources.Credentials(*context.git)
    source = sources.resolve(context.run.project, context.run.params.get("ref"), credentials)
    context.log(f"Project at {source.commit or 'no commit'}{' with uncommitted changes' if source.dirty else ''}")
    folder = context.workdir / "checkout"
    source = sources.checkout(source, folder)
    context.claim.check()
    return sources.keep(source, folder, context.store.artifacts)


def _of_candidate(context: StepContext, candidate: ModelVersion) -> sources.KeptCode:
    context.log(f"Candidate {candidate.name}:{candidate.version} of Sacred run {candidate.run_id}")
    return sources.KeptCode(
        candidate.project_digest, candidate.commit, candidate.committed_at, candidate.dirty, candidate.diff_digest
    )


def _environment(context: StepContext, project: Project, folder: Path) -> EnvironmentRef:
    if project.dockerfile is None:
        lock = lock_of(project, folder)
        context.log(f"Environment of {lock.path.name} ({lock.digest[7:19]})")
        return ensure(lock, context.images, context.home, context.log)
    if context.builder is None:
        raise RequestError(
            f"The project has a Dockerfile ({project.dockerfile}), and nothing here builds it",
            "run its steps as pods or containers: [modelyard] execution = kubernetes or docker. Where they are, its "
            "entry beside the DAGs is older than its Dockerfile: write it anew with modelyard lock --git …",
        )
    from modelyard.dockerfile import ensure_project_image

    return ensure_project_image(
        folder,
        project.dockerfile,
        builder=_builder(context.builder, context.workdir / "built"),
        images=context.images,
        address=context.store.address,
        home=context.home,
        workdir=context.workdir,
        log=context.log,
    )


def lock_of(project: Project, folder: Path) -> Lock:
    """Return the locked packages of a project without a Dockerfile.

    Raises:
        ProjectError: it has no lock file that counts, or that can't be installed as it is.
    """
    if project.lock is None:
        raise ProjectError([without_lock()])
    return read_lock(folder / project.lock)


def _builder(named: str, folder: Path) -> Builder:
    from modelyard.dockerfile.builder import ENGINE

    if named == ENGINE:
        from modelyard.dockerfile.engine import EngineBuilder

        return EngineBuilder(folder)
    from modelyard.dockerfile.beside import BesideBuilder

    return BesideBuilder(Path(named))


def _other_platforms(context: StepContext, project: Project) -> list[str]:
    """Return the platforms that the image is to be for beside this machine's own, the one that it is tested on.

    What their base images are is looked up here, so that nothing is trained for an image that cannot be made.
    """
    asked = project.image.platforms
    if not asked or context.run.params.get("release") is False:  # then no image is made
        return []
    own = Interpreter.of_this_machine()
    if own.platform not in asked:
        raise RequestError(
            f"The image is to be for {', '.join(asked)}, and this step runs on {own.platform}: nothing could test it",
            f"add {own.platform} to image.platforms in model.yaml, or run the steps on a machine of these",
        )
    others: list[str] = [platform for platform in asked if platform != own.platform]
    if context.images.is_shared:
        from modelyard.images.base import base_name, pull_image

        address = context.store.address
        for platform in others:
            try:
                pull_image(base_name(address, own.python), address, context.home, platform)
            except ImageError as error:
                raise ImageError(
                    f"There is no base image for {platform}: {error.message}",
                    "name one that is for all of image.platforms (base_image, MODELYARD_BASE_IMAGE), or leave the "
                    "platform out in model.yaml",
                ) from error
    return others


def _elsewhere(context: StepContext, project: Project, folder: Path, platform: str) -> EnvironmentRef:
    """Have the packages of the same lock for another platform; nothing of them is run here."""
    return ensure(lock_of(project, folder), context.images, context.home, context.log, platform)


def _image(context: StepContext, environment: EnvironmentRef) -> str | None:
    """Have an image with the environment in it, where steps run in images."""
    if context.runner_image is None or environment.executable is not None:
        return None
    from modelyard.images.environment_image import ensure_environment_image

    return ensure_environment_image(
        context.runner_image,
        environment,
        images=context.images,
        address=context.store.address,
        home=context.home,
        log=context.log,
    )


def _refuse_unknown(run: PipelineRun, config: list[str], project: Project) -> None:
    asks = any(environment.approval for environment in project.deployment.environments.values())
    known = [
        *_PARAMS,
        *plan.RESOURCE_PARAMS,
        *(["ref"] if "git" in run.project else []),
        *(["approve"] if asks else []),
        *(f"config.{path}" for path in config),
        *(f"data.{name}" for name in project.data),
    ]
    unknown = [key for key in run.params if key not in known]
    if unknown:
        raise RequestError(
            f"The run's conf has keys that this model does not know: {', '.join(unknown)}",
            " ".join(f"{key}: {nearest(key, known)}" for key in unknown),
        )


def _refuse_config(candidate: ModelVersion, params: dict[str, Any]) -> None:
    """Refuse to configure what is trained. What its tree says of its config is not asked: it may say nothing."""
    given = [key for key in params if key.startswith("config.")]
    if given:
        raise RequestError(
            f"{candidate.name}:{candidate.version} is trained already, and the run gives it {', '.join(given)}",
            "leave these out to release it as it is, or leave `version` out to train with them",
        )


def _check_data_uris(context: StepContext, project: Project) -> None:
    """Hold the address of each data set to what model.yaml's is held to, a Param's too."""
    for name, data in project.data.items():
        try:
            check_uri(context.data_uri(name, data))
        except ValueError as error:
            raise RequestError(
                f"The Param data.{name} is no address of data: {error}",
                "give a path inside the project, or file:///…, http(s)://… or s3://…",
            ) from error


def _refuse_unprotected(context: StepContext, code: sources.KeptCode, candidate: ModelVersion | None) -> None:
    """Refuse what a protected environment does not take, with everything it lacks at once."""
    settings = context.run.settings
    if not settings["protected"] or context.run.params.get("release") is False:
        return
    lacks = []
    if code.commit is None:
        lacks.append("Its code is in no Git commit.")
    if code.dirty:
        lacks.append("Its code has uncommitted changes:")
    if code.dirty and code.diff_digest is not None:
        lacks.append(context.store.artifacts.read(code.diff_digest).decode(errors="replace").rstrip())
    if candidate is not None:
        lacks += [f"Its packages are not as locked: {difference}." for difference in candidate.package_differences]
        if not any(file.path == "modelyard.json" for file in candidate.model):
            lacks.append("It has no golden predictions: it was not saved by modelyard.log_model.")
    if lacks:
        what = "This project" if candidate is None else f"{candidate.name}:{candidate.version}"
        raise RequestError(
            f"{what} cannot be released to '{settings['environment']}', which is protected:\n" + "\n".join(lacks),
            "commit the code and have the pipeline train it, or release to an environment that is not protected",
        )
