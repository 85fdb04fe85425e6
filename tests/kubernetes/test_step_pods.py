"""What a project asks for its pods, as a real cluster gives it: nodes, variables, volumes, and no credential."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from kubernetes.client.exceptions import ApiException
from tests.kubernetes.ground import Ground
from tests.kubernetes.stepping import Pods, altered, succeed
from tests.searching import Search

from modelyard.errors import RequestError
from modelyard.execution.secrets import pull_secret
from modelyard.store import Store

TOKEN = "a-token-of-the-projects-own-that-no-log-may-show"
SETTINGS = {"rate": "0.1", "notes": "from a config map"}

_ASKED = """
steps:
  train: &with_code
    resources: {cpu: 250m, memory: 512Mi, ephemeral_storage: 1Gi}
    pod:
      nodeSelector: {kubernetes.io/os: linux}
      tolerations: [{key: example.com/training, operator: Exists, effect: NoSchedule}]
      affinity:
        nodeAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - weight: 1
              preference: {matchExpressions: [{key: example.com/disk, operator: In, values: [ssd]}]}
      imagePullSecrets: [{name: project-registry}]
      env:
        - {name: PLAIN, value: plain}
        - {name: BOTH, value: $(PLAIN) and more}
        - {name: TOKEN, valueFrom: {secretKeyRef: {name: project-secret, key: token}}}
        - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        - {name: LD_PRELOAD, value: /mnt/settings/none.so}
      envFrom:
        - {prefix: SETTING_, configMapRef: {name: project-settings}}
        - {secretRef: {name: not-there, optional: true}}
      volumes:
        - {name: home, configMap: {name: project-settings}}
        - {name: memory, emptyDir: {medium: Memory, sizeLimit: 16Mi}}
      volumeMounts:
        - {name: home, mountPath: /mnt/settings, readOnly: true}
        - {name: memory, mountPath: /dev/shm}
  validate: *with_code
"""

# What the project's code tells of what it sees: of values their hash, as a log is read by many.
_TELLS = """
    import hashlib, os, shutil, sys
    for name, value in sorted(os.environ.items()):
        print("variable", name, hashlib.sha256(value.encode()).hexdigest(), flush=True)
"""
_LOOKS = """
    print("rate", open("/mnt/settings/rate").read())
    print("in memory", shutil.disk_usage("/dev/shm").total)
    place = "/run/modelyard/store/MODELYARD_MONGO_URI"
    assert os.path.lexists(place)
    try:
        print("open", open(place).read())
    except PermissionError:
        print("closed", place)
"""


def told(said: str) -> dict[str, str]:
    """Return the variables that the project's code saw, with the hash of each one's value."""
    lines = (line.split() for line in said.splitlines())
    return {words[1]: words[2] for words in lines if words[:1] == ["variable"]}


def hashed(value: str) -> str:
    return sha256(value.encode()).hexdigest()


@pytest.fixture(scope="module")
def asking(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny project that asks for all there is, and what it asks for, in the namespace."""
    core, namespace = ground.core, ground.namespace
    core.create_namespaced_secret(namespace, {"metadata": {"name": "project-secret"}, "stringData": {"token": TOKEN}})
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "project-settings"}, "data": SETTINGS})
    return altered(
        ground,
        "asking",
        tmp_path_factory.mktemp("asking"),
        {
            "train.py": ("    time.sleep(pause)\n", _TELLS + _LOOKS),
            "predict.py": ("    return float(", f"{_TELLS}    return float("),
        },
        _ASKED,
    )


def test_the_projects_code_gets_what_it_asks_for_and_no_credential(ground: Ground, asking: Path, store: Store) -> None:
    pods = Pods(ground, store, asking)
    said = succeed(pods, "prepare", "train", "log_to_sacred", "validate")
    spec = pods.pods["train"].spec
    for step in ("train", "validate"):
        seen = told(said[step])
        assert (
            seen.items()
            >= {
                "PLAIN": hashed("plain"),
                "BOTH": hashed("plain and more"),
                "TOKEN": hashed(TOKEN),
                "NODE": hashed(spec.node_name),
                "SETTING_rate": hashed("0.1"),
                "SETTING_notes": hashed("from a config map"),
            }.items()
        )
        assert [name for name in seen if name.startswith("MODELYARD_")] in ([], ["MODELYARD_RELAY"])
        # The dynamic linker tells of each program that it starts with a library that isn't there.
        assert "/mnt/settings/none.so" in said[step]
    assert "rate 0.1" in said["train"]
    assert f"in memory {16 * 2**20}" in said["train"]
    assert "closed /run/modelyard/store/MODELYARD_MONGO_URI" in said["train"]
    assert not {"TOKEN", "PLAIN"} & told(said["prepare"]).keys()

    (container,) = spec.containers
    quantities = {"cpu": "250m", "memory": "512Mi", "ephemeral-storage": "1Gi"}
    assert container.resources.requests == container.resources.limits == quantities
    assert spec.node_selector == {"kubernetes.io/os": "linux"}
    assert "example.com/training" in [toleration.key for toleration in spec.tolerations]
    assert spec.affinity.node_affinity.preferred_during_scheduling_ignored_during_execution[0].weight == 1
    assert "project-registry" in [secret.name for secret in spec.image_pull_secrets]
    shown = str(pods.pods) + str(said)
    assert Search({**ground.credentials, "project": TOKEN}).found([("shown", shown.encode())]) == set()


def test_a_node_that_is_not_there_is_waited_for(ground: Ground, store: Store, asking: Path) -> None:
    """As a node selector that the cluster had dropped would not."""
    pods = Pods(ground, store, asking)
    succeed(pods, "prepare")
    pods.project["steps"]["train"]["pod"]["nodeSelector"] = {"example.com/no": "such"}
    manifest = pods.manifest("train")
    ground.core.create_namespaced_pod(ground.namespace, manifest)
    name = manifest["metadata"]["name"]
    (condition,) = pods.wait(name, lambda status: status.conditions).status.conditions
    ground.core.delete_namespaced_pod(name, ground.namespace, grace_period_seconds=0)
    assert "didn't match Pod's node affinity/selector" in condition.message


def test_a_project_cannot_ask_for_a_secret_of_modelyards_own(ground: Ground, store: Store, asking: Path) -> None:
    pods = Pods(ground, store, asking)
    stores = {"secretRef": {"name": pods.secrets.store}}
    pods.project["steps"]["train"]["pod"]["envFrom"] = [stores]
    with pytest.raises(RequestError, match=f"asks for the Secret '{pods.secrets.store}'"):
        pods.manifest("train")


def test_an_administrators_template_adds_and_takes_nothing_away(ground: Ground, store: Store, asking: Path) -> None:
    pods = Pods(ground, store, asking)
    pods.template = {
        "metadata": {"labels": {"example.com/team": "a"}},
        "spec": {
            "tolerations": [{"key": "example.com/batch", "operator": "Exists"}],
            "containers": [
                {
                    "name": "base",
                    "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}},
                    "env": [{"name": "EXAMPLE", "value": "of the administrator's"}],
                }
            ],
        },
    }
    said = succeed(pods, "prepare", "train")
    assert "EXAMPLE" not in told(said["train"])
    pod = pods.pods["train"]
    assert pod.metadata.labels["example.com/team"] == "a"
    assert pod.metadata.labels["modelyard.io/step"] == "train"
    assert {"example.com/batch", "example.com/training"} <= {one.key for one in pod.spec.tolerations}
    (container,) = pod.spec.containers
    assert container.resources.limits["memory"] == "512Mi", "the project's own"
    assert "EXAMPLE" in [variable.name for variable in container.env]
    (container,) = pods.pods["prepare"].spec.containers
    assert container.resources.limits == {"memory": "1Gi"}, "where the project says nothing"
    assert container.security_context.read_only_root_filesystem is True


def test_the_cluster_takes_the_registrys_login_for_one(ground: Ground) -> None:
    made = pull_secret(replace(ground.store, registry_username="robot", registry_password="pull-it"), "registry")
    assert made is not None
    ground.core.create_namespaced_secret(ground.namespace, made)  # of this type it looks into what it is given
    made["metadata"]["name"] = "broken"
    made["data"] = {".dockerconfigjson": b64encode(b"no JSON").decode()}
    with pytest.raises(ApiException, match="dockerconfigjson"):
        ground.core.create_namespaced_secret(ground.namespace, made)
