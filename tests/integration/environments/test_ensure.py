from __future__ import annotations

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.unpacking import unpack

from modelyard.environments import EnvironmentRef, ensure, layer_of, python_of, read_lock
from modelyard.environments.lock import Lock
from modelyard.errors import EnvironmentBuildError, Unavailable
from modelyard.images import validate
from modelyard.images.interpreter import Interpreter
from modelyard.images.layout import Layout
from modelyard.images.repositories import ENVIRONMENT_TAG

HELLO = "NAMES = {'one', 'two', 'three'}\ndef main():\n    print('hello from', __name__, sorted(NAMES))\n"


def locked(tmp_path: Path, *pins: str) -> Lock:
    path = tmp_path / "requirements.txt"
    path.write_text("".join(pins))
    return read_lock(path)


def test_an_environment_is_built_once_and_runs(index: Any, tmp_path: Path) -> None:
    lock = locked(tmp_path, index.wheel("hello", "1.0", {"hello.py": HELLO}))
    images, home = Layout(tmp_path / "images"), tmp_path / "home"
    said: list[str] = []

    ref = ensure(lock, images, home, said.append)
    python = python_of(ref, images, home)

    assert subprocess.check_output([python, "-I", "-m", "hello"], text=True) == ""
    assert subprocess.check_output([python.with_name("hello")], text=True).startswith("hello from hello ['one'")
    (index.folder / "hello-1.0-py3-none-any.whl").unlink()
    assert ensure(lock, images, tmp_path / "another home", said.append) == ref
    assert "built already" in said[-1]
    assert EnvironmentRef(**ref.to_json()) == ref
    assert [path.suffix for path in (home / "cache" / "builds").iterdir()] == [".lock"]


def test_a_build_that_was_killed_does_not_stand_in_the_way(index: Any, tmp_path: Path) -> None:
    lock = locked(tmp_path, index.wheel("hello", "1.0", {"hello.py": HELLO}))
    ref = ensure(lock, Layout(tmp_path / "images"), tmp_path / "home", lambda _: None)
    (left,) = (tmp_path / "home" / "cache" / "builds").iterdir()
    (left.with_suffix("") / "lib" / "half").mkdir(parents=True)

    assert ensure(lock, Layout(tmp_path / "other images"), tmp_path / "home", lambda _: None) == ref


def test_those_who_want_it_at_once_build_it_once(index: Any, tmp_path: Path) -> None:
    lock = locked(tmp_path, index.wheel("hello", "1.0", {"hello.py": HELLO}))
    images, said = Layout(tmp_path / "images"), list[str]()

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ensure, lock, images, tmp_path / "home", said.append) for _ in range(4)]
    assert len({one.result() for one in asked}) == 1
    assert len([line for line in said if line.startswith("Packed")]) == 1


def test_two_builds_in_different_folders_are_the_same_layer(index: Any, tmp_path: Path) -> None:
    files = {
        f"many/m{number}.py": f"import os\nX = {{'a', 'b', {number}}}\ndef f(self): return os\n" for number in range(50)
    }
    lock = locked(tmp_path, index.wheel("hello", "1.0", {"hello.py": HELLO}), index.wheel("many", "1", files))
    refs = []
    for folder in (tmp_path / "one", tmp_path / "a" / "much" / "longer" / "name"):
        refs.append(ensure(lock, Layout(folder / "images"), folder / "home", lambda _: None))
        time.sleep(1)  # so that times in files would differ

    assert refs[0] == refs[1]


def test_the_layer_holds_packages_and_scripts_and_compiled_modules_alone(index: Any, tmp_path: Path) -> None:
    modules = {"hello.py": HELLO, "hello_tests/test/test_hello.py": "import hello\n"}
    lock = locked(tmp_path, index.wheel("hello", "1.0", modules))
    images = Layout(tmp_path / "images")
    ref = ensure(lock, images, tmp_path / "home", lambda _: None)
    image = images.pull(ref.repository, ref.image_digest)
    validate(image)

    unpack(image, tmp_path / "tree")

    prefix = tmp_path / "tree" / "opt" / "modelyard" / "environment"
    assert sorted(path.name for path in prefix.iterdir()) == ["bin", "lib"]
    assert [path.name for path in (prefix / "bin").iterdir()] == ["hello"]
    files = [path for path in prefix.rglob("*") if path.is_file()]
    assert [path.name.split(".")[0] for path in files if path.suffix == ".pyc"].count("hello") == 1
    assert [path.suffix for path in files if path.name.startswith("test_hello")] == [".py"]
    assert not any(str(tmp_path).encode() in path.read_bytes() for path in files)
    assert layer_of(ref, images).diff_id == ref.diff_id


def test_a_wheel_with_other_bytes_is_refused(index: Any, tmp_path: Path) -> None:
    pin = index.wheel("hello", "1.0", {"hello.py": HELLO})
    index.wheel("hello", "1.0", {"hello.py": "import os  # changed"})

    with pytest.raises(EnvironmentBuildError, match=r"hello==1\.0 has other bytes than were locked"):
        ensure(locked(tmp_path, pin), Layout(tmp_path / "images"), tmp_path / "home", lambda _: None)


def test_a_package_without_a_wheel_is_named_and_never_built(index: Any, tmp_path: Path) -> None:
    pins = [index.sdist("source", "1.0"), index.wheel("other", "2.0", {"other.py": ""}, tag="cp27-none-win32")]
    for pin, name in zip(pins, ("source 1.0", "other 2.0"), strict=True):
        with pytest.raises(EnvironmentBuildError, match=rf"requirements\.txt: {name} has no wheel for Python 3"):
            ensure(locked(tmp_path, pin), Layout(tmp_path / "images"), tmp_path / "home", lambda _: None)
    assert list(tmp_path.rglob("BUILT")) == []


def test_the_lock_decides_which_wheel_it_is_and_not_the_machines_own_libc(index: Any, tmp_path: Path) -> None:
    machine = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}[Interpreter.of_this_machine().platform]
    pins = [
        index.wheel("choice", "1.0", {"choice.py": f"libc = '{libc}'"}, tag=f"py3-none-manylinux_{libc}_{machine}")
        for libc in ("2_17", "2_28", "2_34")
    ]
    hashes = " ".join(f"--hash{pin.rstrip().partition(' --hash')[2]}" for pin in pins)
    images, home = Layout(tmp_path / "images"), tmp_path / "home"

    ref = ensure(locked(tmp_path, f"choice==1.0 {hashes}\n"), images, home, lambda _: None)

    assert "-glibc2.28-" in ref.tag
    assert ENVIRONMENT_TAG.fullmatch(ref.tag)
    done = subprocess.run(
        [python_of(ref, images, home), "-I", "-c", "import choice; print(choice.libc)"], capture_output=True, text=True
    )
    assert done.stdout == "2_28\n"

    newer = index.wheel("newer", "1.0", {"newer.py": ""}, tag=f"py3-none-manylinux_2_34_{machine}")
    with pytest.raises(
        EnvironmentBuildError, match=r"newer 1\.0 has no wheel for Python 3\.\d+ on \S+ with glibc 2\.28"
    ):
        ensure(locked(tmp_path, newer), images, home, lambda _: None)


@pytest.mark.parametrize(
    ("libc", "why"), [(("glibc", "2.17"), r"has glibc 2\.17"), (("", ""), "has musl as its C library")]
)
def test_a_machine_that_could_not_load_the_packages_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, libc: tuple[str, str], why: str
) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: libc)
    with pytest.raises(EnvironmentBuildError, match=f"This machine {why}, .* glibc 2.28 or newer"):
        ensure(locked(tmp_path, "missing==1.0\n"), Layout(tmp_path / "images"), tmp_path / "home", lambda _: None)


def test_packages_for_another_platform_are_installed_and_nothing_of_them_is_run(index: Any, tmp_path: Path) -> None:
    ours = Interpreter.of_this_machine().platform
    (other,) = {"linux/amd64", "linux/arm64"} - {ours}
    machines = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
    everywhere = index.wheel("hello", "1.0", {"hello.py": HELLO})
    here = index.wheel("here", "2.0", {"here.py": ""}, tag=f"py3-none-manylinux_2_17_{machines[ours]}")
    there = index.wheel("there", "3.0", {"there.py": "x = 1"}, tag=f"py3-none-manylinux_2_28_{machines[other]}")
    images, home = Layout(tmp_path / "images"), tmp_path / "home"

    pins = (everywhere, there.replace(" --hash", f" ; platform_machine == '{machines[other]}' --hash"))
    lock = locked(tmp_path, *pins)
    own = ensure(lock, images, home, lambda _: None)
    assert ensure(lock, images, home, lambda _: None, ours) == own
    ref = ensure(lock, images, home, lambda _: None, other)
    assert (ref.platform, images.pull("environment", ref.image_digest).platform) == (other, other)
    assert (ref.python, ref.lock_digest) == (own.python, own.lock_digest)
    trees = []
    for one in (own, ref):
        unpack(images.pull("environment", one.image_digest), tmp_path / one.platform)
        (packages,) = (tmp_path / one.platform).glob("opt/modelyard/environment/lib/python*/site-packages")
        trees.append({path.name: path.read_bytes() for path in packages.rglob("*.py*")})
    assert trees[0] == {name: data for name, data in trees[1].items() if not name.startswith("there.")}
    assert any(name.startswith("there.") and name.endswith(".pyc") for name in trees[1])

    with pytest.raises(EnvironmentBuildError, match=rf"here 2\.0 has no wheel for Python 3\.\d+ on {other}"):
        ensure(locked(tmp_path, here), images, home, lambda _: None, other)


def test_a_package_that_is_nowhere_is_named(index: Any, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentBuildError, match=r"(?s)requirements\.txt could not be installed.*missing"):
        ensure(locked(tmp_path, "missing==1.0\n"), Layout(tmp_path / "images"), tmp_path / "home", lambda _: None)


def test_an_index_that_cannot_be_reached_is_worth_another_try(
    index: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.configure("index-url = 'http://name:secret@127.0.0.1:9/simple'")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(Unavailable, match="could not be fetched") as caught:
        ensure(locked(tmp_path, "missing==1.0\n"), Layout(tmp_path / "images"), tmp_path / "home", lambda _: None)
    assert "secret" not in str(caught.value)


def test_tests_of_packages_are_left_out_where_nothing_else_uses_them(index: Any, tmp_path: Path) -> None:
    plain = {"plain/__init__.py": "", "plain/part/tests/__init__.py": "", "plain/tests/data/file.txt": "x"}
    public = {"public/__init__.py": "", "public/test/__init__.py": "", "public/testing.py": "import plain\n"}
    used = {
        "used/__init__.py": "from . import (\n    tests,\n)\n",
        "used/tests/__init__.py": "",
        "used/conftest.py": "",
    }
    pins = [index.wheel("plain", "1", plain), index.wheel("public", "1", public), index.wheel("used", "1", used)]
    images, home = Layout(tmp_path / "images"), tmp_path / "home"

    python = python_of(ensure(locked(tmp_path, *pins), images, home, lambda _: None), images, home)

    (packages,) = python.parents[1].glob("lib/python*/site-packages")
    assert sorted(str(path.relative_to(packages)) for path in packages.rglob("test*") if path.is_dir()) == [
        "public/test",
        "used/tests",
    ]
    assert list((packages / "plain" / "part").iterdir()) == []
    subprocess.run([python, "-I", "-c", "import plain, public.test, public.testing, used.tests"], check=True)


def test_a_lock_for_another_python_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "Pipfile.lock"
    path.write_text('{"_meta": {"requires": {"python_version": "3.8"}}, "default": {}}')

    with pytest.raises(EnvironmentBuildError, match=r"Pipfile\.lock is for Python ==3\.8\.\*"):
        ensure(read_lock(path), Layout(tmp_path / "images"), tmp_path / "home", lambda _: None)
