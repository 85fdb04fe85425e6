from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelyard.client.child import environment
from modelyard.recording import child


def run(code: str, tmp_path: Path) -> tuple[int, list[str]]:
    lines: list[str] = []
    variables = environment(Path(sys.executable), tmp_path, code=[])
    command = [sys.executable, "-c", code]
    return child.run(command, cwd=tmp_path, environment=variables, hidden=(), log=lines.append), lines


def test_output_comes_line_by_line_and_a_progress_bar_as_its_last_state(tmp_path: Path):
    code = r"import sys; print('one'); sys.stderr.write('10%\r50%\r100%\n'); sys.stdout.buffer.write(b'\xff')"
    returncode, lines = run(code, tmp_path)
    assert returncode == 0
    assert sorted(lines) == ["100%", "one", "�"]


def test_the_environment_has_what_the_machine_is_and_no_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2@proxy")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    _, lines = run("import os; print(sorted(os.environ.items()))", tmp_path)
    assert "hunter2" not in lines[0]
    assert "('CUDA_VISIBLE_DEVICES', '1')" in lines[0]


@pytest.mark.parametrize(
    ("returncode", "status", "says"),
    [(3, "FAILED", "exit code 3"), (0, "FAILED", "exit code 0"), (-9, "INTERRUPTED", "SIGKILL: out of memory"),
     (-11, "FAILED", "SIGSEGV"), (-15, "INTERRUPTED", "SIGTERM")],
)  # fmt: skip
def test_every_end_has_its_word(returncode: int, status: str, says: str):
    found, how = child.ended(returncode)
    assert found == status
    assert says in how


def test_what_it_leaves_running_is_ended_with_it(tmp_path: Path):
    code = "import subprocess, sys; print(subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL).pid)"
    _, lines = run(code, tmp_path)
    deadline = time.monotonic() + 5
    while is_running(int(lines[0])) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(int(lines[0]))


STARTER = """
import sys
from pathlib import Path
from modelyard.recording import child
child.run(
    [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"],
    cwd=Path("/"), environment={}, hidden=(), log=lambda line: print(line, flush=True),
)
"""


def test_it_ends_with_its_parent(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
    deadline = time.monotonic() + 5
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)


def test_an_interrupted_parent_lets_it_say_so(tmp_path: Path):
    code = STARTER.replace("time.sleep(60)", "signal.pause()").replace("import os", "import os, signal")
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        int(parent.stdout.readline())
        parent.send_signal(signal.SIGINT)
        said, _ = parent.communicate(timeout=20)
    assert "KeyboardInterrupt" in said


@pytest.mark.skipif(
    os.geteuid() != 0, reason="a user's processes are open to her unless they are hidden; only root has more"
)
def test_it_cannot_look_into_others(tmp_path: Path):
    with subprocess.Popen(["/bin/sleep", "60"], env={"PASSWORD": "hunter2"}) as other:
        try:
            code = f"import os; print(open('/proc/{other.pid}/environ').read())"
            returncode, lines = run(code, tmp_path)
        finally:
            other.kill()
    assert returncode != 0
    assert "PermissionError" in lines[-1]


HIDDEN = """
import os, sys
from pathlib import Path
from modelyard.process import hide
from modelyard.recording import child
hide()
code = f"print(open('/proc/{os.getpid()}/environ').read())"
command = [sys.executable, "-c", code]
child.run(command, cwd=Path("/"), environment={}, hidden=(), log=lambda line: print(line, flush=True))
"""


def test_it_cannot_look_into_its_hidden_parent(tmp_path: Path):
    parent = subprocess.run(
        [sys.executable, "-c", HIDDEN], env={"PASSWORD": "hunter2"}, capture_output=True, text=True, timeout=60
    )
    assert "hunter2" not in parent.stdout
    assert "PermissionError" in parent.stdout


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
