"""`deploy`: the released version goes live in its environment, or everything stays as it was."""

from __future__ import annotations

from modelyard.deployment import Autoscaling, Ingress, PredictionLog, ServiceSpec, Target, Tracing, open_target
from modelyard.errors import ModelyardError, RequestError, Superseded
from modelyard.monitoring.destination import Destination, prefix_of
from modelyard.project.serving import PredictionLog as WantedLog
from modelyard.project.serving import Serving
from modelyard.quantity import bytes_of
from modelyard.steps.context import StepContext
from modelyard.steps.results import Deployed, Prepared, Pushed
from modelyard.store import ModelVersion
from modelyard.supply_chain.key import read_public_keys
from modelyard.supply_chain.signature import check_signed


def run(context: StepContext) -> Deployed:
    """Roll out the version this run released.

    Raises:
        DeploymentFailed: it did not come up or failed its smoke test; the previous version serves.
        Superseded: a newer pipeline run has deployed meanwhile.
        ImageError: it is not signed by the store's verification key.
    """
    pushed = context.result(Pushed)
    version = context.store.versions.get(context.run.model, pushed.version)
    # By the model: what a lock of an earlier Modelyard does not say has its default.
    return roll_out(context, version, Serving.model_validate(context.result(Prepared).project["serving"]))


def roll_out(context: StepContext, version: ModelVersion, serving: Serving) -> Deployed:
    """Take ``version`` to the run's environment by its target, move the environment's alias, and keep the record of it.

    The generation is the pipeline run's place in the order of all runs: the newer run wins, whichever comes first.
    A second try with the same generation finds what the first one did and ends the same.
    """
    store, run = context.store, context.run
    environment = run.settings["environment"]
    why = str(run.params.get("reason") or f"{run.dag_id} {run.run_id}")
    assert version.image_digest is not None  # noqa: S101 - push has set it, and what was live has one
    golden = store.artifacts.read_json(version.file("modelyard.json").digest)["golden"]
    target = _target(context)
    before = store.aliases.get(version.name, environment)
    deployment = store.deployments.begin(
        model=version.name,
        environment=environment,
        generation=run.sequence,
        version=version.version,
        image_digest=version.image_digest,
        target=run.settings["target"],
        by=run.started_by,
        why=why,
        pipeline_run=run.id,
        replaces=None if before is None else before.version,
    )
    context.claim.check()
    try:
        verified_by = _check_signed(context, version)
        address = target.deploy(
            ServiceSpec(
                model=version.name,
                environment=environment,
                version=version.version,
                run_id=version.run_id,
                image_digest=version.image_digest,
                generation=deployment.generation,
                workers=serving.workers,
                replicas=serving.replicas,
                cpu=serving.resources.cpu,
                memory=serving.resources.memory,
                autoscaling=None if serving.autoscaling is None else Autoscaling(**serving.autoscaling.model_dump()),
                ingress=Ingress(**run.settings["ingress"]) if run.settings.get("ingress") else None,
                smoke=golden,
                log=_prediction_log(context, version.name, environment, serving.prediction_log),
                tokens=run.settings.get("tokens"),
                tracing=Tracing(**run.settings["tracing"]) if run.settings.get("tracing") else None,
            ),
            context.log,
        )
        # A newer run may have deployed and moved the alias since the target has answered: it is not moved back.
        store.aliases.move(
            version.name, environment, to=version.version, by=run.started_by, why=why, generation=deployment.generation
        )
    except Superseded as error:
        store.deployments.finish(deployment, "superseded", error=error.message)
        raise
    except (Exception, SystemExit) as error:
        context.claim.check()  # what a newer try goes on with is not ended by this one
        if deployment.state == "rolling_out":
            store.deployments.finish(deployment, "failed", error=_why_not(error))
        raise
    store.deployments.finish(deployment, "live", address=address, verified_by=verified_by)
    context.log(f"{version.name}:{version.version} is live in '{environment}' at {address}")
    return Deployed(
        version=version.version,
        image_digest=version.image_digest,
        environment=environment,
        generation=deployment.generation,
        address=address,
        replaced=deployment.replaces if deployment.replaces != version.version else None,
    )


def _check_signed(context: StepContext, version: ModelVersion) -> str | None:
    """Hold what goes live to the administrator's verification key, at the last moment; None: there is none.

    Whoever may push to the registry or write to the database can put another digest in this one's place.
    """
    asked = context.store.address.verification_key
    if asked is None or version.image_digest is None:
        return None
    key = check_signed(context.images, version.name, version.image_digest, read_public_keys(asked))
    context.log(f"{version.image_digest} is signed by {key}")
    return str(key)


def _prediction_log(
    context: StepContext, model: str, environment: str, wanted: WantedLog | None
) -> PredictionLog | None:
    if wanted is None:
        return None
    destination = Destination.of(context.store.address)
    return PredictionLog(
        sample=wanted.sample,
        hide=wanted.hide,
        most_bytes=bytes_of(wanted.disk),
        seconds=wanted.seconds,
        prefix=prefix_of(model, environment),
        destination=destination.to_environment(),
        needs_credential=destination.needs_credential,
        image=context.runner_image,
    )


def _why_not(error: BaseException) -> str:
    if isinstance(error, SystemExit):  # a signal's, and the target has taken back what it had begun
        return "It was told to end: its run was cancelled, or took too long"
    return error.message if isinstance(error, ModelyardError) else f"{type(error).__name__}: {error}"


def _target(context: StepContext) -> Target:
    settings = context.run.settings
    conn_id = settings.get("cluster")
    if conn_id is not None and context.cluster is None:
        # Never the cluster that happens to be configured here: it is another one.
        raise RequestError(
            f"Environment '{settings['environment']}' is in the cluster of the Airflow connection '{conn_id}'",
            f"only Airflow has that: release by the DAG '{context.run.model}'",
        )
    return open_target(settings["target"], context.home, context.images, settings.get("namespace"), context.cluster)
