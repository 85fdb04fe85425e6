import json
from dataclasses import replace
from typing import Any

import pytest

from modelyard.errors import RequestError, StoreError
from modelyard.execution import Command, ImageBeside
from modelyard.execution.kubernetes import Secrets, check_target, step_pod
from modelyard.execution.reach import check_reachable, check_source
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
    step: str = "train",
    *,
    store: str = "modelyard-store",
    git: str | None = None,
    pull: str | None = None,
    cluster: str | None = None,
    elsewhere: bool = False,
    signing: str | None = None,
    template: dict[str, Any] | None = None,
    **command: Any,
) -> dict[str, Any]:
    return step_pod(
        Command(step, RUN, **command),
        runner_image="registry.example.com/models/runner:1",
        secrets=Secrets(store, git, pull, cluster, signing, elsewhere),
        images_beside={"production": "registry.example.com/models/wine@sha256:aa"},
        deadline_seconds=3600,
        gpu_resource="amd.com/gpu",
        template=template,
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
        *("--address", "/run/modelyard/store"),
    ]
    assert container["image"] == "registry.example.com/models/runner:1"
    assert {variable["name"] for variable in container["env"]} == {"HOME", "MODELYARD_HOME", "PYTHONUNBUFFERED"}


def test_the_step_that_makes_images_is_told_what_the_runner_image_is():
    (container,) = pod("prepare")["spec"]["containers"]
    arguments = container["args"]
    assert (
        arguments[arguments.index("--runner-image") + 1] == container["image"] == "registry.example.com/models/runner:1"
    )


def test_a_step_with_the_projects_code_runs_in_the_image_that_its_command_names():
    (container,) = pod("train", image="registry.example.com/models/environment-image@sha256:bb")["spec"]["containers"]
    assert container["image"] == "registry.example.com/models/environment-image@sha256:bb"


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
        "MODELYARD_LEARNING_SECONDS": "0",
    }
    assert [mount["name"] for mount in beside["volumeMounts"]] == ["tmp-production"]
    arguments = spec["containers"][0]["args"]
    assert arguments[arguments.index("--beside") + 1] == "production=http://127.0.0.1:8080"


def test_resources_are_asked_for_and_are_the_limit():
    asked = {"cpu": "2", "memory": "4Gi", "ephemeral_storage": "10Gi", "gpu": "1"}
    quantities = {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "10Gi", "amd.com/gpu": "1"}
    (container,) = pod("train", resources=asked)["spec"]["containers"]
    assert container["resources"] == {"requests": quantities, "limits": quantities}
    assert pod("train")["spec"]["containers"][0]["resources"] == {}


def test_a_repositorys_token_is_mounted_beside_the_stores_address():
    spec = pod("prepare", git="modelyard-git")["spec"]
    (container,) = spec["containers"]
    assert container["args"][-2:] == ["--git", "/run/modelyard/git"]
    assert {volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume} == {
        "modelyard-store",
        "modelyard-git",
    }


def test_the_signing_key_is_mounted_where_it_signs():
    spec = pod("push", signing="our-signing")["spec"]
    (container,) = spec["containers"]
    assert container["args"][-2:] == ["--signing", "/run/modelyard/signing"]
    assert {"name": "signing", "secret": {"secretName": "our-signing", "defaultMode": 0o440}} in spec["volumes"]
    with pytest.raises(RequestError, match="asks for the Secret 'our-signing'"):
        pod("push", signing="our-signing", pod={"envFrom": [{"secretRef": {"name": "our-signing"}}]})


@pytest.mark.parametrize("step", ["deploy", "rollback"])
def test_the_access_to_another_cluster_is_mounted_and_is_all_that_the_step_has(step: str):
    spec = pod(step, cluster="modelyard-production", elsewhere=True)["spec"]
    (container,) = spec["containers"]
    assert container["args"][-2:] == ["--cluster", "/run/modelyard/cluster"]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts["cluster"] == {"name": "cluster", "mountPath": "/run/modelyard/cluster", "readOnly": True}
    assert {"name": "cluster", "secret": {"secretName": "modelyard-production", "defaultMode": 0o440}} in spec[
        "volumes"
    ]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("modelyard-step", False)
    same = pod(step, cluster="modelyard-production")["spec"]
    assert (same["serviceAccountName"], same["automountServiceAccountToken"]) == ("modelyard-deployer", True)


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
        check_reachable(replace(ADDRESS, **changes), "model_store_default", "pod")
    assert "correct the connection 'model_store_default'" in str(refused.value)
    assert "top-secret" not in str(refused.value)


def test_a_store_on_the_network_is_fine():
    check_reachable(ADDRESS, "model_store_default", "pod")


def test_a_project_that_no_pod_reads_is_refused():
    check_source({"git": "https://git.example.com/wine"}, "pod")
    with pytest.raises(RequestError, match=r"No pod can read the folder /projects/wine\n  → .*modelyard lock --git"):
        check_source({"folder": "/projects/wine"}, "pod")


def test_a_service_that_would_end_with_its_pod_is_refused():
    check_target("staging", "kubernetes")
    with pytest.raises(RequestError, match="'production' has the target 'local'"):
        check_target("production", "local")


ASKED: dict[str, Any] = {
    "nodeSelector": {"disk": "ssd"},
    "affinity": {"podAffinity": {}},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "priorityClassName": "batch",
    "serviceAccountName": "wine-training",
    "imagePullSecrets": [{"name": "registry"}],
    "env": [
        {"name": "PATH", "value": "/mnt/bin:$(HOME):$(PATH):$$(PATH)"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "wandb", "key": "token"}}},
    ],
    "envFrom": [{"prefix": "S_", "configMapRef": {"name": "settings"}}, {"secretRef": {"name": "more"}}],
    "volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": "wines"}}],
    "volumeMounts": [{"name": "home", "mountPath": "/mnt/data"}],
}


def test_a_project_is_given_what_it_asks_for():
    spec = pod("train", pod=ASKED)["spec"]
    for key in ("nodeSelector", "affinity", "tolerations", "priorityClassName", "serviceAccountName"):
        assert spec[key] == ASKED[key]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["automountServiceAccountToken"] is False
    (container,) = spec["containers"]
    assert {"name": "project-home", "persistentVolumeClaim": {"claimName": "wines"}} in spec["volumes"]
    assert {"name": "home", "emptyDir": {}} in spec["volumes"]
    assert {"name": "project-home", "mountPath": "/mnt/data"} in container["volumeMounts"]


def test_its_variables_mean_nothing_to_the_steps_own_process():
    """Which has the store's credentials: no search path and no library of the project's may be loaded there."""
    (container,) = pod("train", pod=ASKED)["spec"]["containers"]
    ours = {"HOME", "MODELYARD_HOME", "PYTHONUNBUFFERED"}
    theirs = [variable for variable in container["env"] if variable["name"] not in ours]
    assert theirs == [
        {"name": "MODELYARD_PROJECT_PATH", "value": "/mnt/bin:$(HOME):$(MODELYARD_PROJECT_PATH):$$(PATH)"},
        {"name": "MODELYARD_PROJECT_TOKEN", "valueFrom": {"secretKeyRef": {"name": "wandb", "key": "token"}}},
    ]
    assert container["envFrom"] == [
        {"prefix": "MODELYARD_PROJECT_S_", "configMapRef": {"name": "settings"}},
        {"prefix": "MODELYARD_PROJECT_", "secretRef": {"name": "more"}},
    ]


def test_an_image_beside_is_given_none_of_it():
    (beside,) = pod("validate", beside={"production": PRODUCTION}, pod=ASKED)["spec"]["initContainers"]
    assert not [variable for variable in beside["env"] if "PROJECT" in variable["name"]]
    assert [mount["name"] for mount in beside["volumeMounts"]] == ["tmp-production"]


@pytest.mark.parametrize(
    "asked",
    [
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "NAME", "key": "MODELYARD_MONGO_URI"}}}]},
        {"envFrom": [{"secretRef": {"name": "NAME"}}]},
        {"volumes": [{"name": "a", "secret": {"secretName": "NAME"}}]},
    ],
)
@pytest.mark.parametrize("name", ["our-store", "our-git", "modelyard-git-default-12345678"])
def test_a_secret_of_modelyards_own_is_not_for_a_project(asked: dict[str, Any], name: str):
    named = json.loads(json.dumps(asked).replace("NAME", name))
    with pytest.raises(RequestError, match=f"asks for the Secret '{name}', which holds credentials of Modelyard's own"):
        pod("prepare", pod=named, store="our-store", git="our-git")
    pod("prepare", pod=json.loads(json.dumps(asked).replace("NAME", "wandb")))


def test_nodes_pull_by_the_registrys_secret():
    spec = pod("train", pull="modelyard-registry", pod=ASKED)["spec"]
    assert spec["imagePullSecrets"] == [{"name": "modelyard-registry"}, {"name": "registry"}]


def test_a_template_is_what_the_pod_is_merged_onto():
    template = {"spec": {"tolerations": [{"key": "batch"}], "containers": [{"name": "base", "stdin": True}]}}
    spec = pod("train", template=template, pod=ASKED)["spec"]
    assert spec["tolerations"] == [{"key": "batch"}, *ASKED["tolerations"]]
    assert spec["containers"][0]["stdin"] is True
    assert spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
