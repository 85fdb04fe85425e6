"""A step's process pays for what its own work needs, and says nothing before its first line."""

from __future__ import annotations

import subprocess
import sys

_HEAVY = {"boto3", "great_expectations", "numpy", "pandas", "papermill", "requests", "sacred", "sklearn"}
_GIT = {"dulwich"}


def loaded_by(*names: str) -> set[str]:
    """Return the libraries that a step's process has loaded with these modules; it must print nothing else."""
    modules = ["modelyard.cli", "modelyard.steps.entry", "modelyard.steps.context", "modelyard.images.open"]
    modules += [f"modelyard.{name}" for name in names]
    code = f"import sys, {', '.join(modules)}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ended.stderr == ""
    return set(ended.stdout.split())


def test_steps_that_run_no_code_of_a_project_load_nothing_heavy() -> None:
    steps = ("log_to_sacred", "test_image", "push", "deploy", "rollback")
    assert not loaded_by(*(f"steps.{step}" for step in steps)) & (_HEAVY | _GIT)


def test_steps_that_read_a_project_load_git_alone() -> None:
    assert not loaded_by("steps.prepare", "steps.train", "steps.validate", "steps.containerise") & _HEAVY


def test_where_a_run_is_recorded_sacred_does_not_say_what_it_is_built_on() -> None:
    assert "sacred" in loaded_by("recording.observer")
