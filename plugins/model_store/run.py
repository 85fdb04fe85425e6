"""One step of one DAG run: what comes before and after its command, whichever way that is started."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias, BaseHook
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from model_store.hook import ModelStoreHook
from model_store.links import addresses
from model_store.projects import LockedProject
from modelyard.errors import ModelyardError, RequestError
from modelyard.steps import plan

if TYPE_CHECKING:
    from airflow.sdk import Context

    from modelyard.deployment import ClusterAccess
    from modelyard.execution import Command
    from modelyard.store import ModelVersion, PipelineRun, Store
    from modelyard.supply_chain import SigningKey

_REFUSED = ModelyardError.exit_code

# Where a version went is known only when the step has run, and an asset among the outlets would always get an event.
_DEPLOYMENTS = AssetAlias("modelyard-deployments")

JSON = dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """How a step's command ended.

    Attributes:
        exit_code: its process's own; negative for a signal's number.
        try_number: of the command, which may be an earlier one than this task's: a pod outlives its worker.
        why: what ended it from outside, as a sentence with a remedy; "" for the step's own end.
        again: another try may end otherwise.
        said: the error that the step told last, where that is known; "" where it is not.
    """

    exit_code: int
    try_number: int
    why: str = ""
    again: bool = True
    said: str = ""


@dataclass(frozen=True)
class PipelineStep:
    """A step of a model's pipeline, as an operator of any execution mode runs it: ``begin``, the command, ``end``.

    Attributes:
        step: its name in :data:`modelyard.steps.plan.BY_NAME`.
        project_of: the project that a run with these Params is about.
        conn_id: the model store's connection.
        settings: the step's section of model.yaml, resolved; for modes that have a use for it.
    """

    step: str
    project_of: Callable[[Mapping[str, Any]], LockedProject]
    conn_id: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def begin(self, context: Context, store: Store) -> tuple[PipelineRun, Command]:
        """Write down the pipeline run, and return it with what to run for this try.

        Raises:
            AirflowSkipException: the run's Params leave this step out.
            ModelyardError: the store cannot be reached, or the Params ask for what the project doesn't have.
        """
        from modelyard.execution import Command

        params = context["params"]
        if reason := plan.skipped_because(self.step, params):
            raise AirflowSkipException(reason)
        locked = self.project_of(params)
        run = store.pipelines.open(pipeline_run(context, locked, store.address.installation))
        return run, Command(
            step=self.step,
            pipeline_run=run.id,
            try_number=context["ti"].try_number,
            clear_number=run.clear_number,
            image=plan.image(self.step, run, store),
            project=plan.project_image(self.step, run, store),
            beside=plan.beside(self.step, run, store),
        )

    def settings_of(self, params: Mapping[str, Any]) -> JSON:
        """Return the step's section of a run's model.yaml; a rollback is a deployment, and is given what that is."""
        name = "deploy" if self.step == plan.ROLLBACK.name else self.step
        settings: JSON = self.project_of(params).project["steps"].get(name, {})
        return settings

    def has_dockerfile(self, params: Mapping[str, Any]) -> bool:
        """Return whether this step may have to build the project's own image."""
        return self.step == "prepare" and self.project_of(params).project.get("dockerfile") is not None

    def git_credentials(self, params: Mapping[str, Any]) -> tuple[str, str] | None:
        """Return user and token of the project's repository for the step that fetches it; None for all others."""
        conn_id = self.git_conn_id(params)
        if conn_id is None:
            return None
        connection = BaseHook.get_connection(conn_id)
        return connection.login or "", connection.password or ""

    def cluster_access(self, run: PipelineRun) -> ClusterAccess | None:
        """Return the access to the run's cluster for a step that deploys; None where the environment names none.

        Raises:
            AirflowNotFoundException: there is no such connection.
            RequestError: it leads to no cluster.
        """
        from modelyard.deployment import ClusterAccess

        conn_id = run.settings.get("cluster") if self.step in plan.DEPLOYING else None
        if conn_id is None:
            return None
        return ClusterAccess.from_extra(conn_id, BaseHook.get_connection(conn_id).extra_dejson)

    def git_conn_id(self, params: Mapping[str, Any]) -> str | None:
        """Return the connection of the project's repository for the step that fetches it; None for all others."""
        return self.project_of(params).git_conn_id if self.step == "prepare" else None

    def git_secret(self, params: Mapping[str, Any]) -> str | None:
        """Return the existing Secret in the cluster that the repository's connection names, if it names one.

        Raises:
            RequestError: it has a name that a project could ask for: of this one's steps, or of any other's.
        """
        return _existing_secret(self.git_conn_id(params))

    def signing_conn_id(self) -> str | None:
        """Return the connection of the signing key for the step that signs; None for others, and where it has none."""
        return ModelStoreHook(self.conn_id).signing_conn_id() if self.step == plan.SIGNING else None

    def signing_key(self) -> SigningKey | None:
        """Return the key for the step that signs; None for all others, and where nothing is signed.

        Raises:
            AirflowNotFoundException: there is no such connection.
            RequestError: it has no key.
        """
        from modelyard.supply_chain import SigningKey

        conn_id = self.signing_conn_id()
        if conn_id is None:
            return None
        connection = BaseHook.get_connection(conn_id)
        pem = connection.extra_dejson.get("private_key")
        if not pem:
            raise RequestError(
                f"The connection '{conn_id}' has no signing key",
                'write the content of cosign.key as "private_key" into its extra, its password as the password',
            )
        return SigningKey(pem, connection.password or "")

    def signing_secret(self) -> str | None:
        """Return the existing Secret in the cluster that the key's connection names; raises as ``git_secret``."""
        return _existing_secret(self.signing_conn_id())

    def end(self, context: Context, store: Store, run: PipelineRun, ended: Ended) -> JSON:
        """Return the ids and digests that the step left, and tell Airflow of new versions and deployments.

        Raises:
            AirflowFailException: the step was refused: another try cannot help.
            AirflowException: another try may help.
        """
        record = store.steps.get(run.id, self.step)
        if ended.exit_code != 0:
            error = record.error if record is not None and record.try_number == ended.try_number else None
            raise _failure(self.step, ended, error)
        if record is None or record.result is None:
            raise AirflowException(f"Step '{self.step}' ended well and left no record in the store")
        _emit_events(self.step, context, store, run, record.result)
        return {name: value for name, value in record.result.items() if not isinstance(value, dict | list)}

    def links(self, store: Store, run: PipelineRun) -> dict[str, str]:
        """Return where the buttons of this step's task lead, after it has ended, well or not."""
        record = store.steps.get(run.id, self.step)
        if record is not None and record.result is not None:
            return addresses(run.model, record.result)
        logged = store.steps.get(run.id, "log_to_sacred")
        if self.step != "validate" or logged is None or logged.result is None:
            return {}
        return addresses(run.model, logged.result)  # a refusal leaves its report all the same

    def outlets(self, model: str | None = None) -> list[Asset | AssetAlias]:
        """Return what Airflow is told of when this step has ended well, of ``model`` if it is one model's step."""
        if self.step == "log_to_sacred" and model is not None:
            return [versions_asset(model)]
        return [_DEPLOYMENTS] if self.step in plan.DEPLOYING else []


def pipeline_run(context: Context, locked: LockedProject, installation: str) -> PipelineRun:
    """Return the record of a DAG run, as it was asked for."""
    from modelyard.store import PipelineRun, pipeline_run_id

    dag_run, params = context["dag_run"], locked.asked_for(dict(context["params"]))
    return PipelineRun(
        id=pipeline_run_id(installation, dag_run.dag_id, dag_run.run_id),
        installation=installation,
        dag_id=dag_run.dag_id,
        run_id=dag_run.run_id,
        model=locked.name,
        project=locked.source,
        params=params,
        settings=plan.settings(locked.project, params),
        started_by=dag_run.triggering_user_name or str(dag_run.run_type.value),
        clear_number=dag_run.clear_number or 0,
        created_at=datetime.now(UTC),
    )


def versions_asset(model: str) -> Asset:
    """Return the asset that gets an event for each new version of a model."""
    return Asset(f"modelyard://{model}/versions")


def deployments_asset(model: str, environment: str) -> Asset:
    """Return the asset that gets an event whenever another version of a model is live in an environment."""
    return Asset(f"modelyard://{model}/deployments/{environment}")


def version_event(version: ModelVersion) -> JSON:
    """Return what the event of a new version says of it; its image is built later, and is in the deployment's event."""
    return {
        "version": version.version,
        "model_digest": version.model_digest,
        "sacred_run": version.run_id,
        "pipeline_run": version.pipeline_run,
    }


def _existing_secret(conn_id: str | None) -> str | None:
    """Return the Secret that a connection names; refuse one that a project could ask for."""
    from modelyard.execution.kubernetes import OURS

    name = None if conn_id is None else BaseHook.get_connection(conn_id).extra_dejson.get("kubernetes_secret")
    if not name:
        return None
    if not name.startswith(OURS):
        raise RequestError(
            f"The connection '{conn_id}' names the Secret '{name}', which any project could mount",
            f"give the Secret a name that begins with '{OURS}': no project can ask for that",
        )
    return str(name)


def _emit_events(step: str, context: Context, store: Store, run: PipelineRun, result: JSON) -> None:
    events = context["outlet_events"]
    if step == "log_to_sacred":
        version = store.versions.get(run.model, result["version"])
        events[versions_asset(run.model)].extra.update(version_event(version))
    elif step in plan.DEPLOYING:
        extra = {name: result[name] for name in ("version", "image_digest", "generation", "address")}
        asset = deployments_asset(run.model, result["environment"])
        events[_DEPLOYMENTS].add(asset, extra=extra | {"pipeline_run": run.id})


def _failure(step: str, ended: Ended, error: JSON | None) -> AirflowException:
    """Return the failure of a step as the exception that makes Airflow try again, or not."""
    code = ended.exit_code
    if ended.why:  # the step itself may have seen no more than that its child was killed
        message = f"Step '{step}' {ended.why}"
    elif error is not None:
        message = error["message"] + (f"\n  → {error['remedy']}" if error["remedy"] else "")
    elif ended.said:
        message = ended.said
    else:
        what = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        message = f"Step '{step}' {what}: the lines above say why"
    return AirflowException(message) if ended.again and code != _REFUSED else AirflowFailException(message)


def task_failure(error: ModelyardError) -> AirflowException:
    """Return an error of the library as the exception that makes Airflow try again, or not."""
    return AirflowException(str(error)) if error.transient else AirflowFailException(str(error))
