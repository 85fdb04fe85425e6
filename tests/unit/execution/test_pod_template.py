from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.errors import RequestError
from modelyard.execution.pod_template import merged, read_template


def read(folder: Path, spec: dict[str, Any], **others: Any) -> dict[str, Any]:
    path = folder / "pod.yaml"
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "spec": spec, **others}))
    return read_template(path, "base")


def test_a_template_is_a_pod(tmp_path: Path):
    template = read(
        tmp_path,
        {
            "tolerations": [{"key": "batch", "operator": "Exists"}],
            "containers": [{"name": "base", "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]}],
            "initContainers": [
                {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always", "securityContext": {"runAsUser": 1}}
            ],
            "volumes": [{"name": "certificates", "configMap": {"name": "certificates"}}],
        },
        metadata={"labels": {"team": "a"}},
    )
    assert template["metadata"] == {"labels": {"team": "a"}}


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"toleration": []}, "has the key spec.toleration, which no pod has"),
        ({"containers": [{"name": "base", "environment": []}]}, r"has the key spec.containers\[0\].environment"),
        ({"containers": [{"image": "a"}]}, "is no pod: .*`name`"),
        ({"hostNetwork": True}, "sets spec.hostNetwork"),
        ({"automountServiceAccountToken": True}, "sets spec.automountServiceAccountToken"),
        ({"securityContext": {"runAsUser": 0}}, "sets spec.securityContext"),
        ({"volumes": [{"name": "root", "hostPath": {"path": "/"}}]}, "has the hostPath volume 'root'"),
        ({"containers": [{"name": "proxy"}]}, "has the container 'proxy', with which no step's pod would end"),
        ({"containers": [{"name": "base", "command": ["sh"]}]}, "sets command of the container 'base'"),
        (
            {"containers": [{"name": "base", "securityContext": {"privileged": True}}]},
            "sets securityContext of the container 'base'",
        ),
    ],
)
def test_what_would_be_lost_or_undo_the_confinement_is_refused(tmp_path: Path, spec: dict[str, Any], named: str):
    with pytest.raises(RequestError, match=named) as refused:
        read(tmp_path, spec)
    assert str(tmp_path / "pod.yaml") in str(refused.value)
    assert "\n  → " in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", "kind: Pod", "spec: [", "spec: 1"])
def test_what_is_no_pod_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "pod.yaml"
    path.write_text(text)
    with pytest.raises(RequestError, match="pod template"):
        read_template(path, "base")


def test_a_template_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(RequestError, match="cannot be read"):
        read_template(tmp_path / "pod.yaml", "base")


def test_entries_of_one_name_are_one_and_ours_is_what_counts():
    template = {
        "metadata": {"labels": {"team": "a", "step": "theirs"}},
        "spec": {
            "nodeSelector": {"pool": "batch", "disk": "any"},
            "affinity": {"podAffinity": {}},
            "tolerations": [{"key": "batch"}],
            "imagePullSecrets": [{"name": "theirs"}, {"name": "both"}],
            "volumes": [{"name": "home", "configMap": {"name": "x"}}, {"name": "certificates", "emptyDir": {}}],
            "containers": [
                {"name": "proxy", "image": "proxy:1"},
                {
                    "name": "base",
                    "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
                    "env": [{"name": "HOME", "value": "/root"}, {"name": "HTTPS_PROXY", "value": "http://proxy"}],
                    "volumeMounts": [{"name": "certificates", "mountPath": "/certificates"}],
                },
            ],
        },
    }
    ours = {
        "metadata": {"name": "pod", "labels": {"step": "ours"}},
        "spec": {
            "nodeSelector": {"disk": "ssd"},
            "affinity": {"nodeAffinity": {}},
            "tolerations": [{"key": "gpu"}],
            "imagePullSecrets": [{"name": "both"}],
            "initContainers": [],
            "volumes": [{"name": "home", "emptyDir": {}}],
            "containers": [
                {
                    "name": "base",
                    "image": "runner:1",
                    "resources": {"requests": {"memory": "4Gi"}, "limits": {"memory": "4Gi"}},
                    "env": [{"name": "HOME", "value": "/modelyard"}],
                    "volumeMounts": [{"name": "home", "mountPath": "/modelyard"}],
                }
            ],
        },
    }
    made = merged(template, ours)
    assert made["metadata"] == {"name": "pod", "labels": {"team": "a", "step": "ours"}}
    spec = made["spec"]
    assert spec["nodeSelector"] == {"pool": "batch", "disk": "ssd"}
    assert spec["affinity"] == {"nodeAffinity": {}}
    assert spec["tolerations"] == [{"key": "batch"}, {"key": "gpu"}]
    assert [secret["name"] for secret in spec["imagePullSecrets"]] == ["both", "theirs"]
    assert spec["volumes"] == [{"name": "home", "emptyDir": {}}, {"name": "certificates", "emptyDir": {}}]
    base, proxy = spec["containers"]
    assert proxy == {"name": "proxy", "image": "proxy:1"}
    assert base["resources"] == {"requests": {"cpu": "1", "memory": "4Gi"}, "limits": {"memory": "4Gi"}}
    assert {one["name"]: one["value"] for one in base["env"]} == {"HOME": "/modelyard", "HTTPS_PROXY": "http://proxy"}
    assert [mount["name"] for mount in base["volumeMounts"]] == ["home", "certificates"]
