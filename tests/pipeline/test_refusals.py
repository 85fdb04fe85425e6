"""What a protected environment does not take is refused with all that it lacks; nothing goes live."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.pipeline.tiny import make_tiny
from tests.yard import Yard, ask, commit

from modelyard.project.write_lock import write_lock

PROTECTED = """\
deployment: {environments: {production: {protected: true}}}
validation: {metrics: {accuracy: {min: 0.5}}}
"""


@pytest.fixture
def tiny(yard: Yard, tmp_path: Path) -> Path:
    return make_tiny(tmp_path / "tiny", yard.home)


def change(yard: Yard, project: Path, file: str, text: Callable[[str], str]) -> None:
    """Change a file of a project, lock it anew and commit."""
    path = project / file
    path.write_text(text(path.read_text()))
    write_lock(project, yard.home, print)
    commit(project)


def assert_serves(yard: Yard, version: int) -> None:
    """Assert that this version is in production, by alias, record and its own answer."""
    with yard.open() as store:
        live = store.deployments.live("tiny", "production")
        alias = store.aliases.get("tiny", "production")
    assert live is not None
    assert live.address is not None
    assert alias is not None
    assert (live.version, alias.version) == (version, version)
    prediction, headers = ask(live.address, {"x": 0.9})
    assert prediction == {"prediction": "high"}
    assert headers["modelyard-model-version"] == str(version)


def assert_nothing_live(yard: Yard) -> None:
    with yard.open() as store:
        assert store.deployments.live("tiny", "production") is None
        assert store.aliases.get("tiny", "production") is None


def test_a_protected_environment_takes_committed_code_alone(yard: Yard, tiny: Path) -> None:
    change(yard, tiny, "model.yaml", lambda text: text + PROTECTED)
    no_commit = tiny.parent / "elsewhere" / "tiny"
    shutil.copytree(tiny, no_commit, ignore=shutil.ignore_patterns(".git"))
    assert yard.run(no_commit) == 65
    assert "in no Git commit" in yard.said

    predict = tiny / "predict.py"
    clean = predict.read_text()
    predict.write_text(clean + "# not committed\n")
    assert yard.run(tiny) == 65
    assert "cannot be released to 'production', which is protected" in yard.said
    assert "+# not committed" in yard.said
    assert "train: " not in yard.said

    # It may be tried out all the same; the candidate keeps its difference, wherever the folder went meanwhile.
    assert yard.run(tiny, release=False) == 0, yard.said
    predict.write_text(clean)
    assert yard.run(tiny, version=1) == 65
    assert "tiny:1 cannot be released" in yard.said
    assert "+# not committed" in yard.said
    assert_nothing_live(yard)


def test_a_protected_environment_refuses_packages_that_are_not_as_locked(yard: Yard, tiny: Path) -> None:
    change(yard, tiny, "model.yaml", lambda text: text + PROTECTED)
    assert yard.run(tiny, release=False) == 0, yard.said
    difference = "wrapt 1.17.2 is installed, the lock says 1.17.3"
    with yard.open() as store:
        clean = store.versions.get("tiny", 1)
        # As a laptop registers it, whose environment is its own.
        store.versions.register(replace(clean, version=0, run_id=clean.run_id + 1, package_differences=(difference,)))
    assert yard.run(tiny, version=2) == 65
    assert f"Its packages are not as locked: {difference}." in yard.said
    assert_nothing_live(yard)
    assert yard.run(tiny, version=1) == 0, yard.said
    assert_serves(yard, 1)


def test_without_evaluation_data_nothing_goes_to_a_protected_environment(yard: Yard, tiny: Path) -> None:
    change(yard, tiny, "train.py", lambda text: text.replace('role="evaluation"', 'role="train"'))
    change(yard, tiny, "model.yaml", lambda text: text + PROTECTED)
    assert yard.run(tiny) == 65
    assert "Environment 'production' is protected: nothing is released to it that was not measured." in yard.said
    assert_nothing_live(yard)
