from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from dulwich import porcelain
from dulwich.repo import Repo

from modelyard.cli import main
from modelyard.project.check import check
from modelyard.sources import resolve


def test_help_needs_nothing_heavy() -> None:
    code = "import sys; before = set(sys.modules); import modelyard.cli; print(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    tops = {name.partition(".")[0] for name in loaded}
    assert not tops & {"pydantic", "yaml", "pymongo", "boto3", "dulwich", "rich", "pandas", "sklearn", "sacred", "uv"}


def test_a_new_project_is_sound_and_in_git(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["new", str(tmp_path / "my-model")])
    assert result.exit_code == 0, result.output
    assert check(tmp_path / "my-model").name == "my-model"
    source = resolve({"folder": str(tmp_path / "my-model")})
    assert source.commit is not None
    assert not source.dirty
    assert ".gitignore" in {path.name for path in (tmp_path / "my-model").iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["my-model"]


def test_a_new_project_in_a_repository_is_left_to_its_owner(tmp_path: Path) -> None:
    porcelain.init(tmp_path)
    result = CliRunner().invoke(main, ["new", str(tmp_path / "my-model")])
    assert "commit it there" in result.output
    assert not (tmp_path / "my-model/.git").exists()
    with Repo(str(tmp_path)) as repo, pytest.raises(KeyError):
        repo.head()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("My Model", "cannot be a model's name"),
        ("modelyard-rollback", "is reserved"),
        ("taken", "exists already"),
        ("m", "2 to 40"),
    ],
)
def test_a_new_project_that_cannot_be(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").touch()
    result = CliRunner().invoke(main, ["new", str(tmp_path / name)])
    assert result.exit_code == 65
    assert expected in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_check_tells_every_problem_and_no_trace(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text("name: Wine\nsede: 1\n")
    result = CliRunner().invoke(main, ["check", str(tmp_path)])
    assert result.exit_code == 65
    assert "model.yaml:1: name" in result.output
    assert "Did you mean 'seed'?" in result.output
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)


def test_lock_takes_a_folder_or_a_repository(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["lock", str(tmp_path), "--git", "https://example.com/x"])
    assert result.exit_code == 2
    assert "not both" in result.output
