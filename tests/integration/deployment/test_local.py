"""The local target and its supervisor: faults, fences, stop and start."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from tests.collector import collecting
from tests.processes import wait_until

from modelyard.deployment import Tracing
from modelyard.deployment.local import LocalTarget, services, start_all, stop_all
from modelyard.deployment.state import Release, State, read_state, service_folder, write_state
from modelyard.errors import DeploymentFailed, Superseded

from .conftest import Deploy, Images, ask, steady_load


@pytest.fixture
def folder(home: Path) -> Path:
    return service_folder(home.resolve(), "production", "sum")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def supervisor(folder: Path) -> int:
    """Return the supervisor's process, found by the folder it stands in."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (
                b"modelyard.deployment.supervisor\0" in (process / "cmdline").read_bytes()
                and (process / "cwd").readlink() == folder
            ):
                return int(process.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    pytest.fail("there is no supervisor")


def family(pid: int) -> list[int]:
    return [pid, *(member for child in children(pid) for member in family(child))]


def runs(pid: int) -> bool:
    """Return whether a process is there, and no mere entry that its parent has not collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pids: list[int], within: float = 1) -> bool:
    deadline = time.monotonic() + within
    while any(map(runs, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_first_version_goes_live(target: LocalTarget, home: Path, images: Images, folder: Path) -> None:
    assert target.current("sum", "production") is None
    lines: list[str] = []
    address = target.deploy(images.spec(1), lines.append)
    assert lines[0] == "starting version 1"
    port = int(address.rpartition(":")[2])
    assert 18000 <= port < 19000
    assert ask(port) == 1
    live = target.current("sum", "production")
    assert live is not None
    assert (live.version, live.run_id, live.image_digest) == (1, 1001, images.spec(1).image_digest)
    assert (live.address, live.running) == (address, True)
    assert services(home) == [live]
    pid = supervisor(folder)
    assert os.getsid(pid) == pid != os.getsid(0)
    assert os.getpid() not in (pid, int(Path(f"/proc/{pid}/stat").read_text().split()[3]))


def test_servers_get_no_credential(
    deploy: Deploy, images: Images, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELYARD_MONGO_URI", "mongodb://user:secret@host/")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    deploy(images.spec(1))
    processes = family(supervisor(folder))
    assert len(processes) == 3
    for pid in processes:
        names = {entry.partition(b"=")[0] for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")}
        assert b"PATH" in names
        assert not names & {b"MODELYARD_MONGO_URI", b"AWS_SECRET_ACCESS_KEY", b"HOME"}
    assert b"MODELYARD_MODEL_VERSION=1" in Path(f"/proc/{processes[1]}/environ").read_bytes()


@pytest.mark.parametrize(
    ("behavior", "reason"),
    [
        ({"exit_at_start": True}, "the model file is broken"),
        ({"load_seconds": 60}, "was not ready in 1 s"),
        ({"off": 7}, "row 0, prediction: 8.5, at training it was 201.5"),
    ],
)
def test_a_version_that_is_not_good_changes_nothing(
    target: LocalTarget, deploy: Deploy, images: Images, folder: Path, behavior: dict[str, Any], reason: str
) -> None:
    port = deploy(images.spec(1))
    before, processes = read_state(folder), family(supervisor(folder))
    with pytest.raises(DeploymentFailed) as failed:
        deploy(images.spec(2, timeout=1 if "load_seconds" in behavior else 20, **behavior))
    assert reason in failed.value.message
    assert "version 1 still serves" in failed.value.message
    assert str(folder / "service.log") in str(failed.value.remedy)
    assert ask(port) == 1
    assert read_state(folder) == before
    assert family(supervisor(folder)) == processes
    deploy(images.spec(3))
    assert ask(port) == 3


def test_a_first_version_that_is_not_good_leaves_nothing_live(
    target: LocalTarget, deploy: Deploy, images: Images
) -> None:
    with pytest.raises(DeploymentFailed, match="nothing served before"):
        deploy(images.spec(1, exit_at_start=True))
    assert target.current("sum", "production") is None


def test_an_older_generation_is_refused(deploy: Deploy, images: Images) -> None:
    port = deploy(images.spec(2, generation=5))
    with pytest.raises(Superseded, match=r"generation 5 .version 2. is live"):
        deploy(images.spec(3, generation=4))
    assert ask(port) == 2


def test_the_same_again_is_done_once(deploy: Deploy, images: Images, folder: Path) -> None:
    port = deploy(images.spec(1))
    processes = family(supervisor(folder))
    assert deploy(images.spec(1)) == port
    assert family(supervisor(folder)) == processes
    assert deploy(images.spec(2, generation=1)) == port  # cleared and run again: the same generation, another image
    assert ask(port) == 2


def test_deployments_at_the_same_time_go_one_after_the_other(deploy: Deploy, images: Images) -> None:
    outcomes: dict[int, object] = {}

    def deploying(version: int) -> None:
        try:
            outcomes[version] = deploy(images.spec(version))
        except Superseded as error:
            outcomes[version] = error

    specs = [images.spec(version) for version in (1, 2, 3)]  # made here: making one is no part of the race
    threads = [threading.Thread(target=deploying, args=(spec.version,)) for spec in specs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    port = outcomes[3]
    assert isinstance(port, int)
    assert all(outcome == port or isinstance(outcome, Superseded) for outcome in outcomes.values())
    assert ask(port) == 3


def test_a_crashed_server_is_started_again(deploy: Deploy, images: Images, folder: Path) -> None:
    port = deploy(images.spec(1))
    server = children(supervisor(folder))[0]
    worker = children(server)[0]
    os.kill(server, signal.SIGKILL)
    assert ask(port) == 1  # the connection waits in the socket, which is the supervisor's
    assert gone([server, worker])
    assert "ended with exit code -9; starting it again" in (folder / "service.log").read_text()


def test_a_killed_supervisor_leaves_no_process_and_the_next_takes_its_place(
    deploy: Deploy, target: LocalTarget, images: Images, folder: Path, home: Path
) -> None:
    port = deploy(images.spec(1))
    processes = family(supervisor(folder))
    os.kill(processes[0], signal.SIGKILL)
    assert gone(processes)
    live = target.current("sum", "production")
    assert live is not None
    assert not live.running
    start_all(home)
    assert ask(port) == 1
    os.kill(supervisor(folder), signal.SIGKILL)
    assert deploy(images.spec(2)) == port
    assert ask(port) == 2


def test_a_killed_deployment_is_brought_to_its_end(deploy: Deploy, images: Images, folder: Path, home: Path) -> None:
    """SIGKILL of the deploying process at any moment: old or new serves, and a second try ends right."""
    port = deploy(images.spec(1))
    program = (
        "import json, sys; from pathlib import Path; from modelyard.deployment import ServiceSpec;"
        "from modelyard.deployment.local import LocalTarget; root, home, spec = json.loads(sys.stdin.read());"
        "LocalTarget(Path(home), lambda *_: Path(root)).deploy(ServiceSpec(**spec), print)"
    )
    with steady_load(port) as load:
        for number, moment in enumerate((0.05, 0.3, 0.6, 1.0)):
            spec = images.spec(2 + number)
            root = images.unpack(spec.model, spec.image_digest)
            process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, text=True)
            assert process.stdin is not None
            process.stdin.write(json.dumps([str(root), str(home), asdict(spec)]))
            process.stdin.close()
            time.sleep(moment)
            process.kill()
            process.wait()
            assert deploy(spec) == port
            assert ask(port) == spec.version
    assert load.failures == []


def test_stop_and_start(deploy: Deploy, images: Images, folder: Path, home: Path, target: LocalTarget) -> None:
    port = deploy(images.spec(1))
    processes = family(supervisor(folder))
    assert stop_all(home) == 1
    assert gone(processes, 0.1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert stop_all(home) == 0
    assert [live.running for live in services(home)] == [False]
    assert [live.running for live in start_all(home)] == [True]
    assert ask(port) == 1
    processes = family(supervisor(folder))
    start_all(home)
    assert family(supervisor(folder)) == processes
    target.remove("sum", "production")
    assert services(home) == []
    assert not folder.exists()
    target.remove("sum", "production")


def test_stop_ends_a_deployment_that_hangs(deploy: Deploy, images: Images, folder: Path, home: Path) -> None:
    port = deploy(images.spec(1))
    errors: list[Exception] = []

    def deploying() -> None:
        try:
            deploy(images.spec(2, load_seconds=60))
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    thread = threading.Thread(target=deploying)
    thread.start()
    while len(processes := family(supervisor(folder))) < 5:
        time.sleep(0.02)
    assert stop_all(home) == 1
    thread.join(20)
    assert "ended while it deployed" in str(errors[0])
    assert gone(processes, 0.1)
    start_all(home)
    assert ask(port) == 1


def test_a_port_that_is_taken_is_left_to_its_owner(
    deploy: Deploy, images: Images, folder: Path, home: Path, target: LocalTarget
) -> None:
    port = deploy(images.spec(1))
    stop_all(home)
    with socket.create_server(("127.0.0.1", port)):
        start_all(home)
        live = target.current("sum", "production")
        assert live is not None
        assert live.address != f"http://127.0.0.1:{port}"
        assert ask(int(live.address.rpartition(":")[2])) == 1
        assert "the service moves to" in (folder / "service.log").read_text()


def test_a_port_of_a_stopped_service_is_kept_for_it(deploy: Deploy, images: Images, home: Path) -> None:
    other = service_folder(home, "staging", "other")
    other.mkdir(parents=True)
    write_state(other, State(18000, Release(1, 1, "sha256:0", 1, "/nowhere", 1, 1.0)))
    assert deploy(images.spec(1)) != 18000


def test_an_idle_connection_gets_its_next_answer_and_then_ends(deploy: Deploy, images: Images) -> None:
    port = deploy(images.spec(1))
    request = b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as idle:
        idle.sendall(request)
        assert b"connection: keep-alive" in idle.recv(65536)
        thread = threading.Thread(target=deploy, args=(images.spec(2),))
        thread.start()
        answer, deadline = b"", time.monotonic() + 20
        while b"connection: close" not in answer:  # until the new version has taken over
            assert time.monotonic() < deadline
            time.sleep(0.1)
            idle.sendall(request)
            answer = idle.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"modelyard-model-version: 1" in answer
        assert idle.recv(1) == b""
        thread.join(20)
        assert not thread.is_alive()
    assert ask(port) == 2


def test_a_service_with_tokens_answers_who_has_one(folder: Path, deploy: Deploy, images: Images) -> None:
    token = secrets.token_urlsafe()
    folder.mkdir(parents=True, mode=0o700)
    (folder / "tokens").write_text(f"{token}\n")
    port = deploy(images.spec(1))
    deploy(images.spec(2))
    for headers, status in (({"authorization": f"Bearer {token}"}, 200), ({}, 401)):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", "/predict", '[{"a": 1, "b": 1.0, "word": null}]', headers)
        assert connection.getresponse().status == status
        connection.close()
    assert token not in (folder / "service.log").read_text()


def test_requests_are_traced_to_the_collector_that_the_environment_has(deploy: Deploy, images: Images) -> None:
    with collecting("127.0.0.1") as collector:
        tracing = Tracing(f"http://127.0.0.1:{collector.server_port}")
        port = deploy(replace(images.spec(1), tracing=tracing))
        assert ask(port) == 1
        wait_until(lambda: collector.spans, "a span", 30)
    resource = json.loads(collector.sent[0][2])["resourceSpans"][0]["resource"]
    facts = {one["key"]: one["value"].get("stringValue") for one in resource["attributes"]}
    assert (facts["service.name"], facts["deployment.environment.name"]) == ("sum", "production")
