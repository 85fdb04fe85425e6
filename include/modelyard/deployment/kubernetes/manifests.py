"""A release and its Deployment: manifests as plain values, made of nothing but their arguments.

The Deployment owns all the others, so it is the fence as well as the only object that is ever deleted. What is proven
live is written on it as a whole: whoever comes later can render it again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from modelyard import pod_security
from modelyard.deployment.kubernetes import side_car
from modelyard.deployment.target import JSON, Autoscaling, Ingress, PredictionLog, Tracing

CONTAINER = "server"
PORT, PORT_NUMBER = "http", 8080
# Read by kubelet when it is there: the account of a registry that asks for one.
PULL_SECRET = "modelyard-registry"  # noqa: S105 - its name

GENERATION, LIVE = "modelyard.io/generation", "modelyard.io/live"
_MODEL, _ENVIRONMENT = "modelyard.io/model", "modelyard.io/environment"
_TOKENS, _TOKENS_FOLDER = "tokens", "/run/modelyard/tokens"
_PROBE_SECONDS = 5
# A server that is told to end takes connections for 3 s more, and gives a slow client 60.
_GRACE_SECONDS = 90
# Kubelet's own patience with a start is longer than ours, so that it is us who say why a version is refused.
_LONGER_THAN_OURS = 30


@dataclass(frozen=True)
class Place:
    """Where a service is: its objects have the model's name."""

    model: str
    environment: str
    namespace: str

    @property
    def selector(self) -> dict[str, str]:
        """The labels of its pods, whatever their version."""
        return {_MODEL: self.model, _ENVIRONMENT: self.environment}

    @property
    def labels(self) -> dict[str, str]:
        """The labels of everything that belongs to it."""
        return {
            "app.kubernetes.io/name": self.model,
            "app.kubernetes.io/component": "model-server",
            "app.kubernetes.io/managed-by": "modelyard",
            **self.selector,
        }

    def address(self, ingress: Ingress | None) -> str:
        """Where clients reach it: by its ingress, without one those in the cluster."""
        return f"http://{self.model}.{self.namespace}.svc" if ingress is None else ingress.address

    def __str__(self) -> str:
        return f"{self.model} in namespace {self.namespace}"


@dataclass(frozen=True)
class Release:
    """All that decides what runs: two equal releases are the same pods.

    Attributes:
        image: by digest, as kubelet pulls it.
        cpu, memory: what one pod asks for and is limited to; None leaves it to the namespace.
        log: what is kept of its answers; None for nothing.
        tokens: the Secret with what its clients have to send one of; None for none.
        tracing: where its traces go; None for nowhere.
    """

    version: int
    run_id: int
    image: str
    image_digest: str
    generation: int
    workers: int
    replicas: int
    cpu: str | None
    memory: str | None
    ready_timeout: float
    autoscaling: Autoscaling | None = None
    ingress: Ingress | None = None
    log: PredictionLog | None = None
    tokens: str | None = None
    tracing: Tracing | None = None

    @classmethod
    def from_json(cls, value: JSON) -> Release:
        """Return the release that ``dataclasses.asdict`` has made this of."""
        names = ("autoscaling", "ingress", "log", "tracing")
        autoscaling, ingress, log, tracing = (value.get(name) for name in names)
        return cls(
            **value
            | {
                "autoscaling": Autoscaling(**autoscaling) if autoscaling else None,
                "ingress": Ingress(**ingress) if ingress else None,
                "log": PredictionLog.from_json(log) if log else None,
                "tracing": Tracing(**tracing) if tracing else None,
            }
        )


def labels_of(release: Release, place: Place) -> dict[str, str]:
    """Return the labels of the release's pods alone."""
    return {**place.selector, GENERATION: str(release.generation)}


def owner(manifest: JSON) -> dict[str, str]:
    """Return the labels that say whose an object is."""
    labels = manifest["metadata"].get("labels") or {}
    return {name: labels.get(name, "") for name in ("app.kubernetes.io/managed-by", _MODEL, _ENVIRONMENT)}


def generation_of(manifest: JSON) -> int:
    """Return the generation that has an object in hand, or had it last."""
    return int((manifest["metadata"].get("annotations") or {}).get(GENERATION, 0))


def live_of(deployment: JSON) -> Release | None:
    """Return the release that was proven live last."""
    text = (deployment["metadata"].get("annotations") or {}).get(LIVE)
    return Release.from_json(json.loads(text)) if text else None


def beginning(place: Place, release: Release) -> JSON:
    """A Deployment that runs nothing, for its uid: what else there is belongs to it."""
    manifest = deployment(place, release, None)
    manifest["metadata"]["annotations"] = {GENERATION: "0"}
    container = {"name": CONTAINER, "image": release.image}
    manifest["spec"] |= {
        "paused": True,
        "replicas": 0,
        "template": {"metadata": {"labels": place.selector}, "spec": {"containers": [container]}},
    }
    return manifest


def replicas(place: Place, number: int) -> JSON:
    """Of the Deployment nothing but its number of replicas: to be applied under a name of its own."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": place.model, "namespace": place.namespace},
        "spec": {"replicas": number},
    }


def deployment(place: Place, release: Release, live: Release | None) -> JSON:
    """The Deployment of a release; ``live`` is what was proven last, and is gone back to when this one fails.

    Of one that is scaled by load it leaves the number of replicas open: that is the autoscaler's.
    """
    described = metadata(place, release)
    if live is not None:
        described["annotations"][LIVE] = json.dumps(asdict(live), sort_keys=True)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": described,
        "spec": {
            **({"replicas": release.replicas} if release.autoscaling is None else {}),
            "paused": False,
            "selector": {"matchLabels": place.selector},
            # All new replicas load at once: a roll-out takes as long as one of them. Where there is no room for all,
            # those that have found some replace as many old ones, which makes room for the next.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}},
            "revisionHistoryLimit": 3,
            "template": {
                "metadata": {
                    "labels": {
                        **place.labels,
                        "app.kubernetes.io/version": str(release.version),
                        **labels_of(release, place),
                    },
                    "annotations": _facts(release),
                },
                "spec": _pod(place, release),
            },
        },
    }


def metadata(place: Place, release: Release) -> JSON:
    """The metadata of every object of a release: whose it is, and the version's facts."""
    return {
        "name": place.model,
        "namespace": place.namespace,
        "labels": place.labels,
        "annotations": {**_facts(release), GENERATION: str(release.generation)},
    }


def _facts(release: Release) -> dict[str, str]:
    return {
        "modelyard.io/version": str(release.version),
        "modelyard.io/run-id": str(release.run_id),
        "modelyard.io/image-digest": release.image_digest,
    }


def _pod(place: Place, release: Release) -> JSON:
    log = release.log
    return {
        "serviceAccountName": place.model,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE_SECONDS + (side_car.GRACE_SECONDS if log else 0),
        "imagePullSecrets": [{"name": PULL_SECRET}],
        "securityContext": pod_security.of_pod(),
        **({"initContainers": [side_car.container(log, pod_security.of_container())]} if log else {}),
        "containers": [_container(place, release)],
        "volumes": [
            {"name": "tmp", "emptyDir": {}},
            *([{"name": _TOKENS, "secret": {"secretName": release.tokens}}] if release.tokens else []),
            *(side_car.volumes(place.model, log) if log else []),
        ],
    }


def _container(place: Place, release: Release) -> JSON:
    probe = {"httpGet": {"path": "/readyz", "port": PORT}, "timeoutSeconds": _PROBE_SECONDS}
    asked = {name: value for name, value in (("cpu", release.cpu), ("memory", release.memory)) if value}
    facts = {
        "MODEL_NAME": place.model,
        "MODEL_VERSION": str(release.version),
        "RUN_ID": str(release.run_id),
        "IMAGE_DIGEST": release.image_digest,
        "PREDICTION_LOG": release.log.settings(side_car.FOLDER) if release.log else "",
        "TOKENS_FILE": f"{_TOKENS_FOLDER}/{_TOKENS}" if release.tokens else "",
    }
    variables = {f"MODELYARD_{name}": value for name, value in facts.items() if value}
    if release.tracing is not None:
        variables |= release.tracing.to_environment(place.environment)
    return {
        "name": CONTAINER,
        "image": release.image,
        "args": ["--workers", str(release.workers)],
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "ports": [{"name": PORT, "containerPort": PORT_NUMBER, "protocol": "TCP"}],
        "resources": {"requests": asked, "limits": asked} if asked else {},
        "securityContext": pod_security.of_container(),
        "startupProbe": {
            **probe,
            "periodSeconds": 1,
            "failureThreshold": int(release.ready_timeout) + _LONGER_THAN_OURS,
        },
        # A server whose model has ended holds its requests for a while: the next ones go elsewhere soon.
        "readinessProbe": {**probe, "periodSeconds": 1, "failureThreshold": 3},
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
            *([{"name": _TOKENS, "mountPath": _TOKENS_FOLDER, "readOnly": True}] if release.tokens else []),
            *([side_car.mount()] if release.log else []),
        ],
    }
