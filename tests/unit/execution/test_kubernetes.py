import json
from base64 import b64decode
from dataclasses import replace
from typing import Any

import pytest

from modelyard.deployment import ClusterAccess
from modelyard.errors import RequestError, StoreError
from modelyard.execution import Command, ImageBeside
from modelyard.execution.kubernetes import (
    Secrets,
    address_secret,
    check_reachable,
    check_source,
    check_target,
    cluster_secret,
    git_secret,
    secret_name,
    step_pod,
)
from modelyard.steps.plan import BY_NAME
from modelyard.store import StoreAddress

RUN = "0123456789abcdef" * 4
ADDRESS = StoreAddress(
    mongo_uri="mongodb://me:top-secret@mongo.example.com:27017/",
    artifacts="s3://models/artifacts",
    s3_endpoint_url="https://s3.example.com",
    s3_secret_key="s3-secret",
    registry="registry.example.com/models",
)
PRODUCTION = ImageBeside("wine", f"sha256:{'a' * 64}", "wine", 3)


def pod(
    step: str = "train", *, git: str | None = None, cluster: str | None = None, elsewhere: bool = False, **command: Any
) -> dict[str, Any]:
    return step_pod(
        Command(step, RUN, **command),
        runner_image="registry.example.com/models/runner:1",
        secrets=Secrets("modelyard-store", git, cluster, elsewhere),
        images_beside={"production": "registry.example.com/models/wine@sha256:aa"},
        deadline_seconds=3600,
    )


def containers(made: dict[str, Any]) -> list[dict[str, Any]]:
    return [*made["spec"]["initContainers"], *made["spec"]["containers"]]


@pytest.mark.parametrize("step", BY_NAME)
def test_a_pod_keeps_the_restricted_standard(step: str):
    made = pod(step, beside={"production": PRODUCTION}, git="modelyard-git")
    spec = made["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {kind for volume in spec["volumes"] for kind in volume if kind != "name"} <= {"emptyDir", "secret"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    for container in containers(made):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_the_command_is_what_a_process_of_the_worker_gets():
    (container,) = pod("train", try_number=2, clear_number=1)["spec"]["containers"]
    assert container["args"] == [
        *("step", "train", "--pipeline-run", RUN, "--try-number", "2", "--clear-number", "1"),
        *("--address", "/run/modelyard/store/given"),
    ]
    assert container["image"] == "registry.example.com/models/runner:1"
    assert {variable["name"] for variable in container["env"]} == {"HOME", "MODELYARD_HOME", "PYTHONUNBUFFERED"}


def test_a_pod_is_found_by_its_run_and_step_and_does_not_live_for_ever():
    made = pod("test_image")
    labels = made["metadata"]["labels"]
    assert labels["modelyard.io/step"] == "test_image"
    assert labels["modelyard.io/pipeline-run"] == RUN[:16]
    assert made["metadata"]["annotations"] == {"modelyard.io/pipeline-run": RUN}
    assert made["metadata"]["name"] == "modelyard-test-image-01234567"
    assert made["spec"]["activeDeadlineSeconds"] == 3600


@pytest.mark.parametrize("step", BY_NAME)
def test_only_the_steps_that_deploy_have_a_token(step: str):
    spec = pod(step)["spec"]
    deploys = step in ("deploy", "rollback")
    assert spec["automountServiceAccountToken"] is deploys
    assert spec["serviceAccountName"] == ("modelyard-deployer" if deploys else "modelyard-step")


def test_an_image_beside_starts_first_and_is_given_nothing():
    spec = pod("validate", beside={"production": PRODUCTION})["spec"]
    (beside,) = spec["initContainers"]
    assert beside["restartPolicy"] == "Always"
    assert beside["image"] == "registry.example.com/models/wine@sha256:aa"
    assert {one["name"]: one["value"] for one in beside["env"]} == {
        "MODELYARD_MODEL_NAME": "wine",
        "MODELYARD_MODEL_VERSION": "3",
        "MODELYARD_IMAGE_DIGEST": PRODUCTION.digest,
        "AIP_HTTP_PORT": "8080",
    }
    assert [mount["name"] for mount in beside["volumeMounts"]] == ["tmp-production"]
    arguments = spec["containers"][0]["args"]
    assert arguments[arguments.index("--beside") + 1] == "production=http://127.0.0.1:8080"


def test_resources_are_asked_for_and_are_the_limit():
    quantities = {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "10Gi", "nvidia.com/gpu": "1"}
    (container,) = pod("train", resources=quantities)["spec"]["containers"]
    assert container["resources"] == {"requests": quantities, "limits": quantities}
    assert pod("train")["spec"]["containers"][0]["resources"] == {}


def test_a_repositorys_token_is_mounted_beside_the_stores_address():
    spec = pod("prepare", git="modelyard-git")["spec"]
    (container,) = spec["containers"]
    assert container["args"][-2:] == ["--git", "/run/modelyard/git/given"]
    assert {volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume} == {
        "modelyard-store",
        "modelyard-git",
    }


@pytest.mark.parametrize("step", ["deploy", "rollback"])
def test_the_access_to_another_cluster_is_mounted_and_is_all_that_the_step_has(step: str):
    spec = pod(step, cluster="modelyard-production", elsewhere=True)["spec"]
    (container,) = spec["containers"]
    assert container["args"][-2:] == ["--cluster", "/run/modelyard/cluster/given"]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts["cluster"] == {"name": "cluster", "mountPath": "/run/modelyard/cluster", "readOnly": True}
    assert {"name": "cluster", "secret": {"secretName": "modelyard-production", "defaultMode": 0o440}} in spec[
        "volumes"
    ]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("modelyard-step", False)
    same = pod(step, cluster="modelyard-production")["spec"]
    assert (same["serviceAccountName"], same["automountServiceAccountToken"]) == ("modelyard-deployer", True)


def test_secrets_hold_what_the_step_reads():
    made = address_secret(ADDRESS, "model_store_default")
    given = json.loads(b64decode(made["data"]["given"]))
    assert StoreAddress.from_json(given["address"]) == ADDRESS
    assert given["git"] is None
    of_git = git_secret(("me", "token"), "git_default", "default")
    assert json.loads(b64decode(of_git["data"]["given"])) == ["me", "token"]
    assert of_git["metadata"]["annotations"] == {"modelyard.io/connection": "git_default"}
    access = ClusterAccess("production_cluster", {"users": []}, "models")
    of_cluster = cluster_secret(access, "default")
    assert ClusterAccess(**json.loads(b64decode(of_cluster["data"]["given"]))) == access
    assert of_cluster["metadata"]["name"] == secret_name("production_cluster", "default")


def test_each_connection_of_each_airflow_has_a_secret_of_its_own():
    names = {
        secret_name(conn_id, installation)
        for conn_id in ("model_store_default", "model-store-default", "Model Store", "x" * 250)
        for installation in ("default", "other")
    }
    assert len(names) == 8
    assert all(name.startswith("modelyard-") and name == name.lower() and len(name) < 100 for name in names)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"artifacts": "file:///data/artifacts"}, "artifacts at 'file:///data/artifacts'"),
        ({"registry": "oci:/data/images"}, "registry 'oci:/data/images'"),
        ({"registry": "localhost:5000/models"}, "registry at 'localhost'"),
        ({"mongo_uri": "mongodb://me:top-secret@127.0.0.1:27017/"}, "database at '127.0.0.1'"),
        ({"mongo_uri": "mongodb://a.example.com:27017,localhost:27017/"}, "database at 'localhost'"),
        ({"s3_endpoint_url": "http://127.0.0.1:9000"}, "artifacts at '127.0.0.1'"),
    ],
)
def test_a_store_that_no_pod_reaches_is_refused(changes: dict[str, Any], named: str):
    with pytest.raises(StoreError, match=named) as refused:
        check_reachable(replace(ADDRESS, **changes), "model_store_default")
    assert "correct the connection 'model_store_default'" in str(refused.value)
    assert "top-secret" not in str(refused.value)


def test_a_store_on_the_network_is_fine():
    check_reachable(ADDRESS, "model_store_default")


def test_a_project_that_no_pod_reads_is_refused():
    check_source({"git": "https://git.example.com/wine"})
    with pytest.raises(RequestError, match=r"No pod can read the folder /projects/wine\n  → .*modelyard lock --git"):
        check_source({"folder": "/projects/wine"})


def test_a_service_that_would_end_with_its_pod_is_refused():
    check_target("staging", "kubernetes")
    with pytest.raises(RequestError, match="'production' has the target 'local'"):
        check_target("production", "local")
