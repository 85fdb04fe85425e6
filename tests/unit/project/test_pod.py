"""What a project may ask for its steps' pods, and how it is told what it may not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modelyard.errors import ProjectError
from modelyard.project import Project, load

ASKED = """\
name: wine
steps:
  train:
    defer: true
    resources: {cpu: 4, memory: 16Gi, ephemeral_storage: 20Gi, gpu: 1}
    pod:
      nodeSelector: {disk: ssd}
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: [a, b]}]}]
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - weight: 10
              podAffinityTerm: {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: wine}}}
      tolerations:
        - {key: gpu, operator: Exists, effect: NoSchedule}
        - {key: team, value: a, effect: NoExecute, tolerationSeconds: 60}
      priorityClassName: batch
      serviceAccountName: wine-training
      imagePullSecrets: [{name: registry}]
      env:
        - {name: MODE, value: full}
        - {name: TOKEN, valueFrom: {secretKeyRef: {name: wandb, key: token}}}
      envFrom: [{prefix: S_, configMapRef: {name: settings}}, {secretRef: {name: more, optional: true}}]
      volumes:
        - {name: data, persistentVolumeClaim: {claimName: wines, readOnly: true}}
        - {name: memory, emptyDir: {medium: Memory, sizeLimit: 8Gi}}
        - {name: files, secret: {secretName: wandb, defaultMode: 288, items: [{key: token, path: a/token}]}}
      volumeMounts:
        - {name: data, mountPath: /mnt/data, subPath: 2026}
        - {name: memory, mountPath: /dev/shm}
        - {name: files, mountPath: /data/secrets, readOnly: true}
""".replace("subPath: 2026", "subPath: '2026'")


def problem(folder: Path, pod: str, step: str = "train") -> str:
    """Return what is said of a step's pod, a line of YAML."""
    (folder / "model.yaml").write_text(f"name: wine\nsteps:\n  {step}:\n    pod:\n      {pod}\n")
    with pytest.raises(ProjectError) as caught:
        load(folder)
    (found,) = caught.value.problems
    return str(found)


def test_all_that_there_is_is_kept_as_kubernetes_writes_it(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(ASKED)
    project = load(tmp_path)
    train = project.steps["train"]
    assert train.defer
    assert train.resources.quantities() == {"cpu": "4", "memory": "16Gi", "ephemeral_storage": "20Gi", "gpu": "1"}
    pod = train.pod.to_json()
    assert pod["tolerations"][0] == {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}
    assert pod["env"][1] == {
        "name": "TOKEN",
        "valueFrom": {"secretKeyRef": {"name": "wandb", "key": "token", "optional": False}},
    }
    assert pod["volumes"][1] == {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}
    assert Project.model_validate(project.to_json()) == project


@pytest.mark.parametrize(
    "pod",
    [
        "securityContext: {privileged: true}",
        "hostNetwork: true",
        "containers: []",
        "command: [sh]",
        "image: evil",
        "automountServiceAccountToken: true",
    ],
)
def test_what_would_undo_its_confinement_cannot_be_said(tmp_path: Path, pod: str) -> None:
    found = problem(tmp_path, pod)
    assert found.startswith(f"model.yaml:5: steps.train.pod.{pod.partition(':')[0]}: is no key that model.yaml knows.")


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (
            "nodeSelectors: {a: b}",
            "steps.train.pod.nodeSelectors: is no key that model.yaml knows.\n  → Did you mean 'n",
        ),
        ("nodeSelector: {gpu: true}", "steps.train.pod.nodeSelector.gpu: should be a valid string, and is True"),
        ("affinity: {nodeAffinity: {required: {}}}", "`affinity.nodeAffinity` has no key 'required'"),
        ("affinity: {podAffinity: []}", "`affinity.podAffinity` should be a mapping"),
        ("tolerations: [{operator: Equal}]", "without `key` the operator is `Exists`"),
        ("tolerations: [{key: a, operator: Exists, value: b}]", "with `operator: Exists` there is no `value`"),
        ("tolerations: [{key: a, effect: NoRun}]", "steps.train.pod.tolerations.0.effect: should be 'NoSchedule',"),
        ("env: [{name: A}]", "'A' has one of `value`, `valueFrom`, and here none is given"),
        (
            "env: [{name: A, value: b, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]",
            "and here `value` and `valueFrom` is given",
        ),
        ("env: [{name: A, value: 1}]", "steps.train.pod.env.0.value: should be a valid string, and is 1"),
        ("env: [{name: A-B, value: c}]", "'A-B' does not have the form"),
        ("env: [{name: A, valueFrom: {secretRef: {name: a}}}]", "secretRef: is no key"),
        ("env: [{name: A, value: a}, {name: A, value: b}]", "the variable 'A' is given twice"),
        ("envFrom: [{prefix: A_}]", "has one of `secretRef` and `configMapRef`"),
        ("volumes: [{name: a, hostPath: {path: /}}]", "volumes.0.hostPath: is no key that model.yaml knows"),
        ("volumes: [{name: a, projected: {sources: []}}]", "volumes.0.projected: is no key that model.yaml knows"),
        ("volumes: [{name: a}]", "the volume 'a' has one of `configMap`,"),
        ("volumes: [{name: a, emptyDir: {}}, {name: a, emptyDir: {}}]", "the volume 'a' is given twice"),
        ("volumeMounts: [{name: a, mountPath: /mnt/a}]", "names 'a', which is not among `volumes`"),
    ],
)
def test_a_mistake_is_told_where_it_is(tmp_path: Path, pod: str, expected: str) -> None:
    found = problem(tmp_path, pod)
    assert expected in found
    assert re.match(r"model.yaml:[45]: steps\.train\.pod", found)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/",
            "/tmp",
            "/tmp/a",
            "/modelyard/home",
            "/opt/modelyard/runner",
            "/run/modelyard/store",
            "/var/run/secrets",
        ),
        *("/run/secrets/kubernetes.io/serviceaccount", "/usr/local/lib", "/etc", "/dev", "/dev/shm/a", "/proc/1"),
        *("mnt", "/mnt/../etc", "/mnt//a", "/mnt/", "/mnt/a:b", "//etc"),
    ],
)
def test_nothing_can_be_put_over_the_steps_own_folders(tmp_path: Path, path: str) -> None:
    found = problem(
        tmp_path, f"{{volumes: [{{name: a, emptyDir: {{}}}}], volumeMounts: [{{name: a, mountPath: '{path}'}}]}}"
    )
    assert "steps.train.pod.volumeMounts.0.mountPath: " in found


def test_only_steps_with_the_projects_code_have_its_variables(tmp_path: Path) -> None:
    found = problem(tmp_path, "env: [{name: A, value: b}]", step="prepare")
    assert "`prepare` runs no code of the project: variables belong to `train` and `validate`" in found
