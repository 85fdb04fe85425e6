"""The shipper beside a server in a pod: who has the credential, and what the pod may reach."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from modelyard.deployment import PredictionLog, ServiceSpec, Tracing
from modelyard.deployment.kubernetes import KubernetesTarget, manifests, side_car
from modelyard.deployment.kubernetes.companions import companions
from modelyard.deployment.kubernetes.manifests import Place, Release
from modelyard.errors import DeploymentFailed
from modelyard.monitoring.destination import Destination

PLACE = Place("wine", "production", "production")
DESTINATION = Destination("s3://bucket/models", "https://s3.example.com:8443", "eu-1", s3_secret_key="never-to-be-seen")
LOG = PredictionLog(
    sample=0.5,
    hide=("name",),
    most_bytes=2**30,
    seconds=60,
    prefix="served/wine/production",
    destination=DESTINATION.to_environment(),
    needs_credential=True,
    image="registry/runner:1",
)
PLAIN = Release(2, 102, "wine@sha256:ab", "sha256:ab", 2, 1, 1, None, None, 30.0)
RELEASE = replace(PLAIN, log=LOG)


def pod(release: Release) -> dict[str, Any]:
    spec: dict[str, Any] = manifests.deployment(PLACE, release, None)["spec"]["template"]["spec"]
    return spec


def test_without_a_log_the_pod_is_as_it_was() -> None:
    spec = pod(PLAIN)
    assert "initContainers" not in spec
    assert [volume["name"] for volume in spec["volumes"]] == ["tmp"]
    assert spec["terminationGracePeriodSeconds"] == 90
    assert "PREDICTION_LOG" not in json.dumps(spec)


def test_the_credential_is_mounted_in_the_side_car_only() -> None:
    spec = pod(RELEASE)
    (server,), (shipper,) = spec["containers"], spec["initContainers"]
    assert shipper["restartPolicy"] == "Always"  # a native side-car: it ends after the server
    assert shipper["image"] == "registry/runner:1"
    secrets = [volume["name"] for volume in spec["volumes"] if "secret" in volume]
    assert len(secrets) == 1
    assert secrets[0] in [mount["name"] for mount in shipper["volumeMounts"]]
    assert secrets[0] not in [mount["name"] for mount in server["volumeMounts"]]
    assert next(volume for volume in spec["volumes"] if "secret" in volume)["secret"]["secretName"] == (
        "modelyard-predictions-wine"
    )
    assert "never-to-be-seen" not in json.dumps(spec)
    assert not [one for one in server["env"] if "S3" in one["name"] or "ARTIFACTS" in one["name"]]
    assert spec["automountServiceAccountToken"] is False


def test_server_and_shipper_share_a_bounded_folder() -> None:
    spec = pod(RELEASE)
    (server,), (shipper,) = spec["containers"], spec["initContainers"]
    (shared,) = (volume for volume in spec["volumes"] if volume["name"] == "predictions")
    assert int(shared["emptyDir"]["sizeLimit"]) > LOG.most_bytes
    told = next(one["value"] for one in server["env"] if one["name"] == "MODELYARD_PREDICTION_LOG")
    assert json.loads(told) == {
        "folder": side_car.FOLDER,
        "sample": 0.5,
        "hide": ["name"],
        "most_bytes": 2**30,
        "seconds": 60,
    }
    for container in (server, shipper):
        assert {"name": "predictions", "mountPath": side_car.FOLDER} in container["volumeMounts"]
    assert shipper["args"][:5] == ["predictions", "ship", side_car.FOLDER, "--prefix", "served/wine/production"]
    assert Destination.from_environment({one["name"]: one["value"] for one in shipper["env"]}) == replace(
        DESTINATION, s3_secret_key=None
    )


def test_the_side_car_keeps_the_restricted_standard_and_is_measured_by_an_autoscaler() -> None:
    (shipper,) = pod(RELEASE)["initContainers"]
    assert shipper["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert shipper["resources"]["requests"]["cpu"]
    assert shipper["resources"]["limits"]["memory"]


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("http://10.0.0.7:7480", [{"ports": [("TCP", 7480)], "to": "10.0.0.7/32"}]),
        ("https://[fd00::7]", [{"ports": [("TCP", 443)], "to": "fd00::7/128"}]),
        ("http://minio.storage", [{"ports": [("TCP", 80)]}, {"ports": [("UDP", 53), ("TCP", 53)]}]),
        (None, [{"ports": [("TCP", 443)]}, {"ports": [("UDP", 53), ("TCP", 53)]}]),
    ],
)
def test_the_pod_reaches_the_object_store_and_nothing_else(endpoint: str | None, expected: object) -> None:
    destination = replace(DESTINATION, s3_endpoint_url=endpoint).to_environment()
    release = replace(RELEASE, log=replace(LOG, destination=destination))
    policy = companions(PLACE, release, "uid")["NetworkPolicy"]
    assert policy is not None
    found = [
        {"ports": [(port["protocol"], port["port"]) for port in rule["ports"]]}
        | ({"to": rule["to"][0]["ipBlock"]["cidr"]} if "to" in rule else {})
        for rule in policy["spec"]["egress"]
    ]
    assert found == expected
    plain = companions(PLACE, PLAIN, "uid")["NetworkPolicy"]
    assert plain is not None
    assert plain["spec"]["egress"] == []


def test_a_release_is_read_back_from_the_deployment_as_it_was() -> None:
    release = replace(RELEASE, tokens="clients", tracing=Tracing("http://collector:4318", 0.5))
    assert manifests.live_of(manifests.deployment(PLACE, release, release)) == release
    before = {
        name: value for name, value in asdict(PLAIN).items() if name not in ("log", "tokens", "tracing")
    }  # an earlier Modelyard's
    assert Release.from_json(before) == PLAIN


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (replace(LOG, image=None), "MODELYARD_RUNNER_IMAGE"),
        (replace(LOG, needs_credential=False), "a folder of this machine"),
    ],
)
def test_what_no_cluster_could_ship_is_refused_before_anything_is_made(log: PredictionLog, words: str) -> None:
    nobody: Any = None
    spec = ServiceSpec("wine", "production", 2, 102, "sha256:ab", 2, log=log)
    with pytest.raises(DeploymentFailed, match=words):
        KubernetesTarget(nobody, lambda *_: "wine@sha256:ab", None).deploy(spec, print)
