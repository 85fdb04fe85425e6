from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelyard.environments import Lock, differences, read_lock
from modelyard.errors import Problem, ProjectError

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def pipfile(**packages: object) -> str:
    meta = {"requires": {"python_version": "3.11"}, "sources": []}
    return json.dumps({"_meta": meta, "default": packages}, indent=1)


def problems(path: Path) -> list[Problem]:
    with pytest.raises(ProjectError) as caught:
        read_lock(path)
    return caught.value.problems


def test_pipfile_lock_keeps_hashes_and_markers(tmp_path: Path) -> None:
    text = pipfile(
        Scikit_Learn={"version": "==1.7.2", "hashes": [B, A]},
        colorama={"version": "==0.4.6", "markers": "sys_platform == 'win32'", "hashes": [A]},
    )

    lock = read_lock(written(tmp_path, "Pipfile.lock", text))

    assert [str(pin) for pin in lock.requirements] == [
        f'colorama==0.4.6 ; sys_platform == "win32" \\\n    --hash={A}',
        f"scikit-learn==1.7.2 \\\n    --hash={A} \\\n    --hash={B}",
    ]
    assert (lock.kind, lock.python, lock.hashed) == ("Pipfile.lock", "==3.11.*", True)


def test_pipfile_lock_names_the_line_of_what_can_change(tmp_path: Path) -> None:
    text = pipfile(
        numpy={"version": "==2.0"},
        mine={"git": "https://example.com/mine.git", "ref": "main"},
        here={"path": ".", "editable": True},
        free={"version": "*"},
    )

    found = problems(written(tmp_path, "Pipfile.lock", text))

    lines = text.splitlines()
    assert [problem.key for problem in found] == ["default.mine", "default.here", "default.free"]
    assert all(problem.line and problem.key.split(".")[1] in lines[problem.line - 1] for problem in found)
    assert "git source" in found[0].message


def test_requirements_with_pins(tmp_path: Path) -> None:
    text = f"""
# comment
numpy==2.0.0 \\
    --hash={B} \\
    --hash={A}   # why
Scikit.Learn == 1.7.2 ; python_version < '3.12'  # other
mine @ https://example.com/mine-1.0-py3-none-any.whl#sha256={"a" * 64}
"""

    lock = read_lock(written(tmp_path, "requirements.txt", text))

    assert [str(pin) for pin in lock.requirements] == [
        f"mine @ https://example.com/mine-1.0-py3-none-any.whl \\\n    --hash={A}",
        f"numpy==2.0.0 \\\n    --hash={A} \\\n    --hash={B}",
        'scikit-learn==1.7.2 ; python_version < "3.12"',
    ]
    assert not lock.hashed


def test_requirements_lists_every_line_that_is_no_pin(tmp_path: Path) -> None:
    text = "numpy==2.0.0\n\nscikit-learn>=1.7  # newest\npandas\nx==1.*\n-r other.txt\n-e .\n"
    text += "--index-url https://u:p@example.com/\n"
    text += "git+https://example.com/x.git\ny @ git+https://token@example.com/y.git\nz==1,<2\n"

    found = problems(written(tmp_path, "requirements.txt", text))

    assert [problem.line for problem in found] == [3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert str(found[0]).startswith("requirements.txt:3: 'scikit-learn>=1.7' is not pinned")
    assert not any("u:p" in str(problem) or "token" in str(problem) for problem in found)


@pytest.mark.parametrize(
    "address", ["https://user:pw@example.com/a-1-py3-none-any.whl", "https://example.com/a-1-py3-none-any.whl?token=pw"]
)
def test_the_address_of_a_wheel_holds_no_secret(tmp_path: Path, address: str) -> None:
    (found,) = problems(written(tmp_path, "requirements.txt", f"a @ {address}#sha256={'0' * 64}\n"))

    assert found.message == ("the address of 'a' has a login or a query: https://example.com/a-1-py3-none-any.whl")
    assert "pw" not in str(found)


def test_pylock(tmp_path: Path) -> None:
    text = f"""
lock-version = "1.0"
requires-python = ">=3.11"
created-by = "test"
[[packages]]
name = "numpy"
version = "2.0.0"
marker = "python_version < '3.14'"
[[packages.wheels]]
name = "numpy-2.0.0-py3-none-any.whl"
url = "https://example.com/numpy-2.0.0-py3-none-any.whl"
hashes = {{sha256 = "{"a" * 64}"}}
"""

    lock = read_lock(written(tmp_path, "pylock.toml", text))

    assert [str(pin) for pin in lock.requirements] == [f'numpy==2.0.0 ; python_version < "3.14" \\\n    --hash={A}']
    assert lock.python == ">=3.11"


def test_pylock_says_what_is_no_wheel_or_broken(tmp_path: Path) -> None:
    start = 'lock-version = "1.0"\ncreated-by = "test"\n[[packages]]\nname = "mine"\n'
    source = 'version = "1"\n[packages.sdist]\nname = "mine-1.tar.gz"\nurl = "https://example.com/mine-1.tar.gz"\n'
    source += 'hashes = {sha256 = "a"}\n'

    (no_wheel,) = problems(written(tmp_path, "pylock.toml", start + source))
    (vcs,) = problems(written(tmp_path, "pylock.toml", start + "vcs = {type='git', url='x', commit-id='y'}\n"))
    (invalid,) = problems(written(tmp_path, "pylock.toml", "created-by = 'test'\n"))
    (no_toml,) = problems(written(tmp_path, "pylock.toml", "a = \n"))

    assert (no_wheel.line, no_wheel.key, no_wheel.message) == (4, "mine", "the package has no wheel")
    assert "vcs" in vcs.message
    assert "lock-version" in str(invalid)
    assert "TOML" in no_toml.message


def test_uv_lock_is_read_with_its_pyproject(tmp_path: Path) -> None:
    written(
        tmp_path,
        "pyproject.toml",
        '[project]\nname="mine"\nversion="1"\nrequires-python=">=3.11"\ndependencies=["six==1.17.0"]\n',
    )
    uv_lock = f"""version = 1
revision = 3
requires-python = ">=3.11"

[[package]]
name = "mine"
version = "1"
source = {{ virtual = "." }}
dependencies = [{{ name = "six" }}]

[package.metadata]
requires-dist = [{{ name = "six", specifier = "==1.17.0" }}]

[[package]]
name = "six"
version = "1.17.0"
source = {{ registry = "https://packages.example.com/simple" }}
wheels = [
    {{ url = "https://packages.example.com/files/six-1.17.0-py2.py3-none-any.whl", hash = "{A}", size = 1 }},
]
"""
    path = written(tmp_path, "uv.lock", uv_lock)

    lock = read_lock(path)

    assert [str(pin) for pin in lock.requirements] == [f"six==1.17.0 \\\n    --hash={A}"]
    assert lock.python == ">=3.11"
    (tmp_path / "pyproject.toml").unlink()
    (problem,) = problems(path)
    assert "pyproject.toml" in problem.message


def test_the_digest_is_of_the_pins_alone(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        return read_lock(written(tmp_path, "requirements.txt", text)).digest

    first = digest(f"numpy==2.0.0 --hash={A} --hash={B}\nsix==1.17.0\n")

    assert digest(f"# made today\nSix==1.17.0\n\nnumpy==2.0.0 --hash={B} \\\n  --hash={A}\n") == first
    assert digest(f"numpy==2.0.0 --hash={A}\nsix==1.17.0\n") != first
    assert digest(f"numpy==2.0.1 --hash={A} --hash={B}\nsix==1.17.0\n") != first


def test_the_same_pins_in_another_kind_of_file_are_the_same_environment(tmp_path: Path) -> None:
    pip = read_lock(written(tmp_path, "requirements.txt", f"numpy==2.0.0 --hash={A}\n"))
    pipenv = read_lock(written(tmp_path, "Pipfile.lock", pipfile(numpy={"version": "==2.0.0", "hashes": [A]})))

    assert pip.digest == pipenv.digest


def test_what_is_not_there_or_no_lock_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="the file is not there"):
        read_lock(tmp_path / "pylock.toml")
    with pytest.raises(ProjectError, match="no lock file"):
        read_lock(tmp_path / "poetry.lock")


@pytest.fixture
def lock(tmp_path: Path) -> Lock:
    text = "scikit-learn==1.7.2\nnumpy==2.0\nsix==1.17.0\ncolorama==0.4.6 ; sys_platform == 'win32'\n"
    return read_lock(written(tmp_path, "requirements.txt", text))


def test_differences_are_sentences(lock: Lock) -> None:
    installed = {"scikit_learn": "1.6.1", "numpy": "2.0.0", "extra": "1", "pip": "25.0"}

    assert differences(lock, installed) == [
        "extra 1 is installed, the lock does not have it",
        "scikit-learn 1.6.1 is installed, the lock says 1.7.2",
        "six is not installed, the lock says 1.17.0",
    ]
    assert differences(lock, {"scikit-learn": "1.7.2", "numpy": "2.0", "six": "1.17.0"}) == []
