"""What confined code can and can't reach, asked of the kernel itself."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.landlock import needs_landlock

from modelyard.client.child import confined
from modelyard.credential_places import credential_places

# Makes of this kernel one without Landlock for what it becomes: the system call is "not implemented" there.
WITHOUT_LANDLOCK = """
import ctypes, os, struct, sys

def instruction(code, equal, other, value):
    return struct.pack("HBBI", code, equal, other, value)

LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
program = ctypes.create_string_buffer(
    instruction(LOAD, 0, 0, 0)
    + instruction(JUMP_IF_EQUAL, 0, 1, 444)
    + instruction(RETURN, 0, 0, 0x00050000 | 38)
    + instruction(RETURN, 0, 0, 0x7FFF0000)
)
libc = ctypes.CDLL(None, use_errno=True)
filter = struct.pack("HxxxxxxQ", 4, ctypes.addressof(program))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, filter, 0, 0) == 0, ctypes.get_errno()
os.execv(sys.argv[1], sys.argv[1:])
"""


@dataclass
class Folders:
    """A machine's folder with a secret and with room to work."""

    home: Path

    @property
    def secret(self) -> Path:
        return self.home / "mongo" / "server.json"

    @property
    def work(self) -> Path:
        return self.home / "work"

    @property
    def hidden(self) -> list[Path]:
        return [self.home / "mongo"]

    def run(self, code: str, *arguments: object, hidden: Sequence[Path] | None = None) -> str:
        """Run confined code in the work folder and return what it printed, errors included."""
        command = confined(
            [sys.executable, "-c", f"import os, sys\n{code}", *map(str, arguments)],
            hidden=self.hidden if hidden is None else hidden,
        )
        return self.output(command)

    def output(self, command: Sequence[str]) -> str:
        done = subprocess.run(
            command, cwd=self.work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
        )
        return done.stdout.strip()


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    home = tmp_path / "home"
    for folder in ("mongo", "work", "data"):
        (home / folder).mkdir(parents=True)
    (home / "mongo" / "server.json").write_text("secret")
    (home / "beside").write_text("a sibling")
    (home / "data" / "file").write_text("data")
    return Folders(home)


READ = "print(open(sys.argv[1]).read())"


@needs_landlock
def test_what_is_hidden_cannot_be_read_and_what_lies_beside_it_can(folders: Folders):
    assert folders.secret.read_text() == "secret"
    assert "PermissionError" in folders.run(READ, folders.secret)
    assert folders.run(READ, folders.home / "beside") == "a sibling"
    assert folders.run(READ, folders.home / "data" / "file") == "data"


@needs_landlock
def test_a_file_alone_is_hidden_from_every_name_it_has(folders: Folders):
    link = folders.work / "link"
    link.symlink_to(folders.secret)
    other = folders.secret.with_name("other")
    other.write_text("other")
    assert folders.run(READ, other, hidden=[link]) == "other"
    for name in (folders.secret, link):
        assert "PermissionError" in folders.run(READ, name, hidden=[link])


@needs_landlock
@pytest.mark.parametrize(
    ("way", "what"), [("rename", "mongo"), ("rename", "mongo/server.json"), ("link", "mongo/server.json")]
)
def test_it_cannot_be_brought_to_another_place(folders: Folders, way: str, what: str):
    code = f"try: os.{way}(sys.argv[1], 'taken')\nexcept OSError as error: print(errno.errorcode[error.errno])"
    assert folders.run(f"import errno\n{code}", folders.home / what) == "EXDEV"
    assert folders.secret.read_text() == "secret"


def test_the_work_goes_on_as_ever(folders: Folders):
    code = """
from pathlib import Path
Path("made").mkdir()
Path("made/file").write_text("written")
os.rename("made/file", "file")
os.rename("file", sys.argv[1] + "/moved")
os.link(sys.argv[1] + "/moved", "linked")
Path("named").symlink_to(sys.argv[1])
print(Path("linked").read_text(), Path("named/moved").read_text())
"""
    assert folders.run(code, folders.home / "data") == "written written"


@needs_landlock
def test_what_is_hidden_may_overlap_be_missing_or_lie_under_a_file(folders: Folders):
    hidden = [folders.home / "mongo" / "data", *folders.hidden, folders.home / "later" / "mongo"]
    hidden += [folders.home / "beside" / "below"]
    assert "PermissionError" in folders.run(READ, folders.secret, hidden=hidden)
    assert folders.run(READ, folders.home / "data" / "file", hidden=hidden) == "data"
    made = "os.makedirs(sys.argv[1]); open(sys.argv[1] + '/file', 'w').write('x'); open(sys.argv[1] + '/file')"
    assert "PermissionError" in folders.run(made, hidden[2], hidden=hidden)


@needs_landlock
@pytest.mark.parametrize("hides", [True, False])
def test_no_other_process_of_the_user_can_be_looked_into(folders: Folders, hides: bool):
    code = """
for name in ("environ", "mem", "fd/0"):
    try: open(f"/proc/{sys.argv[1]}/{name}").read(1)
    except PermissionError: print("refused")
print("mine" in open("/proc/self/environ").read())
"""
    with subprocess.Popen(["sleep", "60"], env={"MARKER": "mine"}, stdin=subprocess.DEVNULL) as other:
        try:
            while b"MARKER=mine" not in Path(f"/proc/{other.pid}/environ").read_bytes():
                time.sleep(0.01)
            said = folders.run(code, other.pid, hidden=None if hides else ())
        finally:
            other.kill()
    assert said.split() == ["refused", "refused", "refused", "False"]


def test_a_kernel_without_landlock_is_told_once_and_stops_nothing(folders: Folders):
    command = confined([sys.executable, "-c", f"import sys\n{READ}", str(folders.secret)], hidden=folders.hidden)
    lines = folders.output([sys.executable, "-c", WITHOUT_LANDLOCK, *command]).splitlines()
    assert lines[-1] == "secret"
    assert len(lines) == 2
    assert "no Landlock" in lines[0]
    assert str(folders.home / "mongo") in lines[0]


@needs_landlock
def test_a_folder_of_ten_thousand_files_on_the_way_is_no_obstacle(folders: Folders):
    for number in range(10_000):
        (folders.home / f"file-{number}").touch()
    (folders.home / "file-9999").write_text("the last")
    assert folders.run(READ, folders.home / "file-9999") == "the last"
    assert "PermissionError" in folders.run(READ, folders.secret)


def test_a_command_that_is_not_there_is_named(folders: Folders):
    assert "/no/python cannot be started: No such file" in folders.output(confined(["/no/python"], hidden=()))


def test_the_places_of_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("AIRFLOW_HOME", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", "/etc/docker-accounts")
    places = set(map(os.fspath, credential_places(tmp_path)))
    assert {f"{tmp_path}/mongo", f"{tmp_path}/airflow", "/home/me/.aws", "/home/me/airflow/airflow.cfg"} <= places
    assert {"/home/me/.docker", "/etc/docker-accounts/config.json"} <= places
    monkeypatch.setenv("AIRFLOW_HOME", "~/other")
    assert Path("/home/me/other/airflow.db") in credential_places(tmp_path)


def test_variables_of_the_project_take_effect_only_once_it_is_closed_off(folders: Folders):
    """The dynamic linker names a library that isn't there for each program that it starts with it."""
    command = confined([sys.executable, "-c", "import os; print(sorted(os.environ.items()))"], hidden=folders.hidden)
    given = {"MODELYARD_PROJECT_LD_PRELOAD": "/none.so", "MODELYARD_PROJECT_TOKEN": "a", "MODELYARD_PROJECT_HOME": "b"}
    done = subprocess.run(
        command, env=given | {"HOME": "/ours", "LC_ALL": "C.UTF-8"}, capture_output=True, text=True, check=True
    )
    assert done.stderr.count("/none.so") == 1
    variables = dict(ast.literal_eval(done.stdout))
    assert variables == {"HOME": "/ours", "LC_ALL": "C.UTF-8", "LD_PRELOAD": "/none.so", "TOKEN": "a"}
