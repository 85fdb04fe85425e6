"""What a project's own Dockerfile adds to a step's pod."""

from __future__ import annotations

from typing import Any

from modelyard.execution import Command, ProjectImage
from modelyard.execution.kubernetes import Builder, Secrets, step_pod

RUN = "0123456789abcdef" * 4
IMAGE = ProjectImage(f"registry.example.com/models/project-image@sha256:{'a' * 64}", "/opt/venv/bin/python3.11")
ASKED = {
    "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "theirs", "key": "token"}}}],
    "envFrom": [{"configMapRef": {"name": "settings"}}],
    "volumes": [{"name": "cache", "emptyDir": {}}],
    "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
}
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def pod(step: str, builder: Builder | None = None, **command: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the step's own container, and the one beside it."""
    made = step_pod(
        Command(step, RUN, resources={"memory": "2Gi"}, **command),
        runner_image="registry.example.com/models/runner:1",
        secrets=Secrets("modelyard-store", "modelyard-git"),
        images_beside={},
        deadline_seconds=3600,
        builder=builder,
    )
    volumes = {volume["name"]: volume for volume in made["spec"]["volumes"]}
    (beside,) = made["spec"]["initContainers"]
    for mount in beside["volumeMounts"]:
        assert "emptyDir" in volumes[mount["name"]]
    (own,) = made["spec"]["containers"]
    return own, beside


def test_a_projects_code_has_what_is_its_own_and_the_steps_folders():
    own, project = pod("train", project=IMAGE, pod=ASKED)
    assert project["image"] == IMAGE.reference
    assert project["command"][:3] == [IMAGE.python, "-I", "-c"]
    assert project["securityContext"] == RESTRICTED
    assert (project["env"], project["envFrom"]) == (ASKED["env"], ASKED["envFrom"])
    assert {mount["mountPath"] for mount in project["volumeMounts"]} == {"/modelyard", "/tmp", "/cache"}
    assert project["resources"]["limits"] == {"memory": "2Gi"}
    # The step itself, with its credentials, has none of it.
    assert own["image"] == "registry.example.com/models/runner:1"
    assert {variable["name"] for variable in own["env"]} == {"HOME", "MODELYARD_HOME", "PYTHONUNBUFFERED"}
    assert not own["envFrom"]
    assert "/cache" not in {mount["mountPath"] for mount in own["volumeMounts"]}
    assert own["resources"] == {}


def test_a_builder_may_make_a_namespace_and_nothing_else():
    own, builder = pod("prepare", Builder("buildah:1"))
    assert own["securityContext"] == RESTRICTED
    assert own["args"][-2:] == ["--builder", "/modelyard-build"]
    assert builder["image"] == "buildah:1"
    assert not {"env", "envFrom"} & builder.keys()
    context = builder["securityContext"]
    assert (context["runAsUser"], context["readOnlyRootFilesystem"]) == (1000, True)
    assert context["capabilities"] == {"drop": ["ALL"], "add": ["SETUID", "SETGID"]}
    assert context["seccompProfile"] == {"type": "Unconfined"}
    assert builder["resources"]["limits"] == {"memory": "2Gi"}


def test_the_step_writes_what_is_asked_and_the_builder_what_is_answered():
    own, builder = pod("prepare", Builder("buildah:1"))
    writable = [
        {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        for container in (own, builder)
    ]
    shared = {"/modelyard-build/request", "/modelyard-build/result"}
    assert [paths & shared for paths in writable] == [{"/modelyard-build/request"}, {"/modelyard-build/result"}]


def test_a_nodes_own_profile_is_named():
    _, builder = pod("prepare", Builder("buildah:1", "modelyard/builder.json"))
    profile = {"type": "Localhost", "localhostProfile": "modelyard/builder.json"}
    assert builder["securityContext"]["seccompProfile"] == profile
