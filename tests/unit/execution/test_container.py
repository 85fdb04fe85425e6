from dataclasses import replace
from typing import Any

import pytest

from modelyard.errors import RequestError
from modelyard.execution import Command, ImageBeside, ProjectImage
from modelyard.execution.container import check_target, container_beside, project_container, step_container
from modelyard.execution.credentials import credentials_line
from modelyard.steps.plan import BY_NAME
from modelyard.store import StoreAddress

RUN = "0123456789abcdef" * 4
PRODUCTION = ImageBeside("wine", f"sha256:{'a' * 64}", "wine", 3)
RUNNER = "registry.example.com/models/runner:1"


def container(command: Command) -> dict[str, Any]:
    return step_container(
        command,
        "group",
        runner_image=RUNNER,
        network="bridge",
        deadline_seconds=60,
        told={"modelyard.io/run": "manual"},
    )


def beside(command: Command) -> dict[str, Any]:
    return container_beside(
        command, "group", "production", PRODUCTION, "registry.example.com/models/wine@sha256:aa", deadline_seconds=60
    )


@pytest.mark.parametrize("step", BY_NAME)
def test_containers_are_as_confined_as_pods(step: str):
    command = Command(step, RUN, beside={"production": PRODUCTION})
    for made in (container(command), beside(command)):
        host = made["HostConfig"]
        assert made["User"] == "65532:65532"
        assert host["ReadonlyRootfs"] is True
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges"]
        assert host["PidsLimit"] > 0
        assert made["Volumes"] == {"/tmp": {}}
        assert not {"Binds", "Mounts", "Privileged", "CapAdd", "Devices", "PidMode", "IpcMode"} & host.keys()


def test_a_step_reads_its_credentials_from_its_input_alone():
    address = StoreAddress("mongodb://me:top-secret@mongo:27017/", "s3://models/x", "registry.example.com/models")
    assert "top-secret" in credentials_line(address, ("me", "token"), None, None)
    made = container(Command("prepare", RUN))
    assert made["Cmd"][-4:] == ["--address", "-", "--deadline", "60"]
    assert (made["OpenStdin"], made["StdinOnce"]) == (True, True)
    assert [one.partition("=")[0] for one in made["Env"]] == ["HOME", "MODELYARD_HOME", "PYTHONUNBUFFERED"]


def test_an_image_beside_a_step_is_in_their_network_alone():
    command = Command("validate", RUN, image="environment@sha256:bb", beside={"production": PRODUCTION})
    made, step = beside(command), container(command)
    assert made["HostConfig"]["NetworkMode"] == "group"
    assert made["NetworkingConfig"] == {"EndpointsConfig": {"group": {"Aliases": ["production"]}}}
    assert "--beside production=http://production:8080" in " ".join(step["Cmd"])
    assert step["Image"] == "environment@sha256:bb"
    assert made["Labels"].items() <= step["Labels"].items() | {("modelyard.io/role", "beside")}


def test_a_projects_own_image_runs_beside_the_step_with_its_folders_and_its_resources():
    command = Command("train", RUN, project=ProjectImage("project@sha256:cc", "/opt/python"), resources={"cpu": "1"})
    assert command.project is not None
    made = project_container(command, "group", command.project, step="abc", network="models", deadline_seconds=60)
    assert made["Image"] == "project@sha256:cc"
    assert (made["Entrypoint"][:3], made["Entrypoint"][4:]) == (
        ["/opt/python", "-I", "-c"],
        ["/tmp/modelyard/project-python/socket", "60"],
    )
    host = made["HostConfig"]
    assert (host["VolumesFrom"], host["NetworkMode"], host["NanoCpus"]) == (["abc"], "models", 1_000_000_000)
    assert "NanoCpus" not in container(command)["HostConfig"]
    assert made["User"] == "65532:65532"
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["SecurityOpt"]) == (True, ["ALL"], ["no-new-privileges"])
    assert not {"Env", "Volumes"} & made.keys()
    assert not {"Binds", "Mounts", "Privileged", "CapAdd", "Devices", "PidMode", "IpcMode"} & host.keys()


def test_resources_are_limits_of_the_engine():
    asked = {"cpu": "1500m", "memory": "1Gi", "gpu": "2"}
    limits = container(Command("train", RUN, resources=asked))["HostConfig"]
    assert limits["NanoCpus"] == 1_500_000_000
    assert limits["Memory"] == limits["MemorySwap"] == 1 << 30
    assert limits["DeviceRequests"] == [{"Driver": "", "Count": 2, "Capabilities": [["gpu"]]}]
    assert "Memory" not in container(Command("train", RUN))["HostConfig"]


def test_where_a_container_cannot_deploy_to():
    check_target("production", {"target": "kubernetes", "cluster": "production_cluster"})
    with pytest.raises(RequestError, match=r"'production' has the target 'local'(?s:.*)→ write `target: docker`"):
        check_target("production", {"target": "local"})
    with pytest.raises(RequestError, match=r"a cluster that nobody has named(?s:.*)→ write `cluster: CONNECTION`"):
        check_target("production", {"target": "kubernetes", "cluster": None})


def test_labels_tell_run_step_and_try():
    made = container(replace(Command("train", RUN), try_number=2))
    assert (
        made["Labels"].items()
        >= {
            "modelyard.io/run": "manual",
            "modelyard.io/pipeline-run": RUN,
            "modelyard.io/step": "train",
            "modelyard.io/try": "2",
        }.items()
    )
