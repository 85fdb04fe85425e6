import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from modelyard import background
from modelyard.background import Session

LEADER = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); print('up', flush=True); {then}"
)
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
GROUP_OF_ITS_OWN = "import os, time; os.setpgid(0, 0); time.sleep(60)"


def members(session: Session) -> list[str]:
    """The processes of a session, without those of which only the exit code is left."""
    listed = subprocess.run(["ps", "-o", "pid=,stat=", "-s", str(session.pid)], capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if "Z" not in line]


def started(folder: Path, child: str, then: str = "time.sleep(60)", count: int = 2) -> Session:
    process = background.spawn(
        [sys.executable, "-c", LEADER.format(child=child, then=then)], folder / "log", folder, os.environ
    )
    session = Session.of(process)
    deadline = time.monotonic() + 10
    while len(members(session)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return session


def test_ending_a_session_ends_what_left_its_group_and_what_ignores_the_signal(tmp_path: Path):
    session = started(tmp_path, GROUP_OF_ITS_OWN)
    assert session.end(grace=5)
    assert members(session) == []
    assert not session.alive
    assert not session.end(grace=5)

    stubborn = started(tmp_path, STUBBORN)
    time.sleep(0.2)  # until it ignores the signal
    assert stubborn.end(grace=0.1)
    assert members(stubborn) == []


def test_what_a_killed_leader_left_behind_is_found(tmp_path: Path):
    session = started(tmp_path, "import time; time.sleep(60)")
    os.kill(session.pid, signal.SIGKILL)
    os.waitpid(session.pid, 0)
    assert not session.alive
    assert session.end(grace=5)
    assert members(session) == []


def test_a_stranger_with_the_same_id_is_left_alone(tmp_path: Path):
    session = started(tmp_path, "import time; time.sleep(60)")
    assert not Session(session.pid, "1").end(grace=0.1)
    assert session.alive
    session.end(grace=5)


def test_the_preferred_port_is_used_unless_somebody_has_it():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        assert background.free_port(taken) != taken
        following = background.free_port(taken, taken)
    assert background.free_port(following) == following


def test_the_last_line_that_says_something(tmp_path: Path):
    (tmp_path / "log").write_text("first\nlast\n\n")
    assert background.last_line(tmp_path / "log") == "last"
