"""Services in a Kubernetes cluster: one Deployment a model and environment, rolled out without a gap.

The order of a deployment: take the Deployment in hand, unless a newer generation has it; wait until all pods are the
new version's; let it answer the golden rows through its Service; write it down as live. The API server refuses every
write when the Deployment is not as it was read, so of two deployments at once the newer generation wins, whenever
either of them stops. A failure before "written down" brings back what was live; a retry after a kill ends the same way.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from kubernetes import client

from modelyard.deployment.kubernetes import manifests
from modelyard.deployment.kubernetes.cluster import MANAGER, ChangedError, Cluster
from modelyard.deployment.kubernetes.companions import KINDS, companions
from modelyard.deployment.kubernetes.manifests import Place, Release
from modelyard.deployment.kubernetes.rollout import NotUpError, RollOut
from modelyard.deployment.smoke import SmokeError, check_answer, question
from modelyard.deployment.target import JSON, Live, ServiceSpec
from modelyard.errors import DeploymentFailed, Superseded, Unavailable

_POLL_SECONDS = 0.5
# Seconds in which the API server learns of a Service's new pods, and of pods that ended.
_LEARNING = 15.0
_REMOVAL_SECONDS = 180.0
# Sets the number of replicas once, so that it stays when MANAGER leaves it to the autoscaler.
_HANDING_OVER = "modelyard-replicas"
_NOT_THERE = (502, 503, 504)


class KubernetesTarget:
    """The target of ``target: kubernetes``.

    Args:
        api: the cluster.
        reference: (model, image digest) → the image's name, as the cluster pulls it.
        namespace: where the services are; None for the one with the environment's name.
    """

    def __init__(self, api: client.ApiClient, reference: Callable[[str, str], str], namespace: str | None) -> None:
        self._cluster = Cluster(api)
        self._reference = reference
        self._namespace = namespace

    def deploy(self, spec: ServiceSpec, log: Callable[[str], None]) -> str:
        """See ``Target.deploy``. May be killed at any moment: the old version serves, and a second try goes on.

        When it is told to end, it first takes back what it has begun.
        """
        place = self._place(spec.model, spec.environment)
        release = self._release(spec)
        _check_log(spec)
        try:
            return self._deploy(spec, place, release, log)
        except (SystemExit, KeyboardInterrupt):
            log(f"Told to end: version {spec.version} is taken back")
            self._abandon(place, release)
            raise

    def _deploy(self, spec: ServiceSpec, place: Place, release: Release, log: Callable[[str], None]) -> str:
        live = self._take(place, release)
        log(f"Rolling out version {spec.version} as Deployment {place}")
        try:
            self._roll_out(place, release)
            log(f"Version {spec.version} is ready in {release.replicas} pods; asking it through its Service")
            self._smoke(place, spec)
        except (NotUpError, DeploymentFailed) as error:  # of its own, or the API server refuses to go on
            why = error.message if isinstance(error, DeploymentFailed) else str(error)
            log(f"Version {spec.version} does not come up: {why}")
            serving = self._go_back(place, release, live, log)
            raise DeploymentFailed(
                f"{spec.model}:{spec.version} did not go live in '{spec.environment}'; {serving}: {why}",
                f"more in: kubectl -n {place.namespace} get events --sort-by=.lastTimestamp",
            ) from error
        self._change(place, release, lambda found: self._apply(found, manifests.deployment(place, release, release)))
        return place.address(release.ingress)

    def current(self, model: str, environment: str) -> Live | None:
        """See ``Target.current``."""
        place = self._place(model, environment)
        found = self._cluster.get("Deployment", place.namespace, model)
        live = None if found is None else manifests.live_of(found)
        if found is None or live is None or manifests.owner(found) != _owner(place):
            return None
        return Live(
            model=model,
            environment=environment,
            version=live.version,
            run_id=live.run_id,
            image_digest=live.image_digest,
            generation=live.generation,
            address=place.address(live.ingress),
            running=found.get("status", {}).get("availableReplicas", 0) > 0,
        )

    def remove(self, model: str, environment: str) -> None:
        """See ``Target.remove``."""
        place = self._place(model, environment)
        deadline = time.monotonic() + _REMOVAL_SECONDS
        while found := self._cluster.get("Deployment", place.namespace, model):
            _check_owner(found, place)
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Deployment {place} is still being deleted",
                    f"look at its pods: kubectl -n {place.namespace} get pods",
                )
            try:
                if "deletionTimestamp" not in found["metadata"]:
                    self._cluster.delete(found)
            except ChangedError:
                continue
            time.sleep(_POLL_SECONDS)

    def _place(self, model: str, environment: str) -> Place:
        return Place(model, environment, self._namespace or environment)

    def _release(self, spec: ServiceSpec) -> Release:
        return Release(
            version=spec.version,
            run_id=spec.run_id,
            image=self._reference(spec.model, spec.image_digest),
            image_digest=spec.image_digest,
            generation=spec.generation,
            workers=spec.workers,
            replicas=spec.replicas,
            cpu=spec.cpu,
            memory=spec.memory,
            ready_timeout=spec.ready_timeout,
            autoscaling=spec.autoscaling,
            ingress=spec.ingress,
            log=spec.log,
            tokens=spec.tokens,
            tracing=spec.tracing,
        )

    def _take(self, place: Place, release: Release) -> Release | None:
        """Have the cluster begin with the release; return what is live so far."""
        while True:
            found = self._cluster.get("Deployment", place.namespace, place.model)
            try:
                if found is None:
                    self._check_room(place)
                    self._cluster.create(manifests.beginning(place, release))
                    continue
                _check_owner(found, place)
                if (newer := manifests.generation_of(found)) > release.generation:
                    raise _superseded(place, release, newer)
                if "deletionTimestamp" in found["metadata"]:
                    time.sleep(_POLL_SECONDS)
                    continue
                live = manifests.live_of(found)
                self._put(found, place, release, live, release.generation)
            except ChangedError:
                continue
            return live

    def _check_room(self, place: Place) -> None:
        """Refuse where somebody else has an object of this name, before anything is made."""
        for kind in KINDS:
            beside = self._cluster.get(kind, place.namespace, place.model)
            if beside is not None:
                _check_owner(beside, place)

    def _put(self, found: JSON, place: Place, release: Release, live: Release | None, generation: int) -> None:
        """Have the Deployment that was found, and all beside it, be the release's.

        Args:
            found: the Deployment.
            place: where it is.
            release: what is to run.
            live: what was proven last.
            generation: of the deployment that does this; what a newer one has in hand is left alone.
        """
        for kind, companion in companions(place, release, found["metadata"]["uid"]).items():
            beside = self._cluster.get(kind, place.namespace, place.model)
            if beside is not None:
                _check_owner(beside, place)
                if not _belongs_to(beside, found):
                    time.sleep(_POLL_SECONDS)  # its Deployment was deleted, and the cluster is about to delete it
                    raise ChangedError
                if (newer := manifests.generation_of(beside)) > generation:
                    raise _superseded(place, release, newer)
            if companion is not None:
                self._apply(beside, companion)
            elif beside is not None:
                self._cluster.delete(beside)
        if release.autoscaling is not None and (number := _replicas_to_hand_over(found, release)) is not None:
            found = self._apply(found, manifests.replicas(place, number), _HANDING_OVER)
        self._apply(found, manifests.deployment(place, release, live))

    def _apply(self, found: JSON | None, manifest: JSON, manager: str = MANAGER) -> JSON:
        if found is not None:
            seen = {"resourceVersion": found["metadata"]["resourceVersion"]}
            manifest = manifest | {"metadata": manifest["metadata"] | seen}
        return self._cluster.apply(manifest, manager)

    def _change(self, place: Place, release: Release, change: Callable[[JSON], object]) -> None:
        """Change the Deployment that this release has in hand."""
        while True:
            try:
                change(self._in_hand(place, release))
            except ChangedError:
                continue
            return

    def _in_hand(self, place: Place, release: Release) -> JSON:
        found = self._cluster.get("Deployment", place.namespace, place.model)
        if found is None or "deletionTimestamp" in found["metadata"]:
            raise DeploymentFailed(
                f"Deployment {place} was deleted while version {release.version} was rolled out",
                "clear `deploy` to put it up anew, unless it was meant to go",
            )
        if (other := manifests.generation_of(found)) != release.generation:
            raise _superseded(place, release, other)
        return found

    def _roll_out(self, place: Place, release: Release) -> None:
        progress = RollOut(self._cluster, place, release)
        while not progress.finished(self._in_hand(place, release)):
            time.sleep(_POLL_SECONDS)

    def _smoke(self, place: Place, spec: ServiceSpec) -> None:
        method, path, body = question(spec.smoke)
        deadline = time.monotonic() + _LEARNING
        while True:
            status, headers, answer = self._cluster.ask_service(
                place.namespace, place.model, manifests.PORT, method, path, body
            )
            if status not in _NOT_THERE or time.monotonic() > deadline:
                break
            time.sleep(_POLL_SECONDS)
        try:
            # The API server passes no token on, and whoever deploys knows none: a service that asks for one has to
            # refuse. It has answered its golden rows to itself before it said that it is ready.
            refused = spec.tokens is not None
            check_answer(status, headers, answer, spec.version, spec.image_digest, spec.smoke, refused=refused)
        except SmokeError as error:
            raise NotUpError(f"smoke test: {error}") from error

    def _abandon(self, place: Place, release: Release) -> None:
        """Have the Deployment be as it was before this release took it, without waiting for it."""
        while True:
            found = self._cluster.get("Deployment", place.namespace, place.model)
            if found is None or manifests.owner(found) != _owner(place) or "deletionTimestamp" in found["metadata"]:
                return
            generation, live = manifests.generation_of(found), manifests.live_of(found)
            try:
                if live is None and generation in (0, release.generation):
                    self._cluster.delete(found)
                elif live is not None and live != release and generation == release.generation:
                    self._put(found, place, live, live, release.generation)
            except ChangedError:
                continue
            return

    def _go_back(self, place: Place, release: Release, live: Release | None, log: Callable[[str], None]) -> str:
        """Bring back what was live, and return what serves now."""
        if live is None:
            self._change(place, release, self._cluster.delete)
            return "nothing served before"
        if live == release:
            return f"version {live.version} was live before, and is left as it is"
        log(f"Going back to version {live.version}")

        self._change(place, release, lambda found: self._put(found, place, live, live, release.generation))
        try:
            self._roll_out(place, live)
        except NotUpError as error:
            return f"version {live.version} was put back, but does not come up either ({error})"
        except DeploymentFailed as error:
            return f"version {live.version} was put back, but cannot be watched ({error.message})"
        return f"version {live.version} still serves"


def _check_log(spec: ServiceSpec) -> None:
    if spec.log is None:
        return
    if not spec.log.needs_credential:
        raise DeploymentFailed(
            f"A cluster cannot send the prediction log of {spec.model} to a folder of this machine",
            "give the model store's connection an object store: artifacts s3://bucket/prefix",
        )
    if spec.log.image is None:
        raise DeploymentFailed(
            f"The shipper of the prediction log of {spec.model} runs in the runner image, and nobody has named it",
            "set MODELYARD_RUNNER_IMAGE where this step runs; a step that is a pod is told by [modelyard] runner_image",
        )


def _owner(place: Place) -> dict[str, str]:
    return {"app.kubernetes.io/managed-by": "modelyard", **place.selector}


def _belongs_to(beside: JSON, deployment: JSON) -> bool:
    owners = {owner["uid"] for owner in beside["metadata"].get("ownerReferences", ())}
    return not owners or deployment["metadata"]["uid"] in owners


def _replicas_to_hand_over(found: JSON, release: Release) -> int | None:
    """Return how many replicas an autoscaler is to begin with; None when the number is not ours any more."""
    ours = any(
        entry["manager"] == MANAGER and "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
        for entry in found["metadata"].get("managedFields", ())
    )
    assert release.autoscaling is not None  # noqa: S101 - asked for one that has it
    most = release.autoscaling.max_replicas
    return min(max(found["spec"]["replicas"], release.replicas), most) if ours else None


def _check_owner(found: JSON, place: Place) -> None:
    if (owner := manifests.owner(found)) != _owner(place):
        whose = ", ".join(f"{name}={value}" for name, value in owner.items() if value) or "no label of Modelyard's"
        raise DeploymentFailed(
            f"There is another {found['kind']} {place} already, with {whose}",
            "give the environment a namespace of its own in model.yaml: deployment.environments.<name>.namespace",
        )


def _superseded(place: Place, release: Release, other: int) -> Superseded:
    return Superseded(
        f"{place.model}:{release.version} is not deployed to '{place.environment}': generation {other} has taken over, "
        f"this is {release.generation}"
    )
