"""What stands for an interpreter in the container beside: both ends as processes of this machine."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.client import stand_in, starter
from modelyard.client.child import confined


@pytest.fixture
def python(tmp_path: Path) -> Iterator[Path]:
    """The stand-in of an interpreter that runs with the variables of an image."""
    socket_ = tmp_path / stand_in.FOLDER / stand_in.SOCKET
    source = Path(starter.__file__).read_text()
    image = {"PATH": "/image/bin", "LANG": "of the image", "PYTHONPATH": "/image/lib", "HOME": "/root"}
    process = subprocess.Popen([sys.executable, "-I", "-c", source, str(socket_)], env=image)
    yield stand_in.lay(tmp_path)
    process.terminate()
    assert process.wait(10) == 0


def test_it_is_given_arguments_variables_folder_and_files_and_ends_as_its_command(python: Path, tmp_path: Path):
    code = (
        "import os, sys; print(sys.argv[1:], os.getcwd(), os.environ['HOME'], os.environ['LANG'], os.environ['GIVEN']);"
        "print(os.environ['PATH'], os.environ['PYTHONPATH'], file=sys.stderr); print(sys.stdin.read()); sys.exit(7)"
    )
    given = {"HOME": "/home/step", "LANG": "of the step", "GIVEN": "value", "PATH": "/usr/bin", "PYTHONPATH": "/client"}
    ended = subprocess.run(
        confined([python, "-c", code, "one", "two words"], hidden=()),
        cwd=tmp_path,
        env=given,
        input="sent",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stdout == f"['one', 'two words'] {tmp_path} /home/step of the image value\nsent\n"
    assert ended.stderr == "/image/bin /client:/image/lib\n"
    assert ended.returncode == 7


def test_a_socket_keeps_its_number_and_ends_with_the_command(python: Path):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        number = theirs.fileno()
        code = f"import socket; s = socket.socket(fileno={number}); s.sendall(s.recv(9)[::-1])"
        process = subprocess.Popen(confined([python, "-c", code], hidden=()), pass_fds=[number])
        theirs.close()
        ours.settimeout(30)
        ours.sendall(b"abc")
        assert ours.recv(9) == b"cba"
        assert ours.recv(9) == b""
        assert process.wait(30) == 0


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_is_the_end_as_it_is_of_the_command(python: Path, ending: signal.Signals):
    command = confined([python, "-c", f"import os; os.kill(os.getpid(), {ending.value})"], hidden=())
    assert subprocess.run(command, check=False, timeout=60).returncode == -ending


def test_an_interruption_reaches_the_command(python: Path):
    code = "import time\ntry: print('on', flush=True) or time.sleep(60)\nexcept KeyboardInterrupt: print('off')"
    process = subprocess.Popen(confined([python, "-c", code], hidden=()), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.read() == "off\n"
    assert process.wait(30) == 0


def test_when_it_is_killed_the_command_and_all_it_has_started_end(python: Path):
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])\n"
        "print(os.getpid(), child.pid, flush=True)\ntime.sleep(300)"
    )
    process = subprocess.Popen(confined([python, "-c", code], hidden=()), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pids = process.stdout.readline().split()
    process.kill()
    process.wait(30)
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_at_its_deadline_all_of_a_container_ends(tmp_path: Path):
    source = Path(starter.__file__).read_text()
    assert (
        subprocess.run([sys.executable, "-I", "-c", source, tmp_path / "s" / "socket", "1"], timeout=60).returncode == 0
    )
