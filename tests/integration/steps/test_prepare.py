"""What `prepare` makes of a project's folder and of a candidate, in this process, on a real store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.released_models import pipeline_run, version
from tests.step_context import context_of

from modelyard.errors import ProjectError, RequestError
from modelyard.project import load
from modelyard.project.lock import LOCKED_FILE, locked, write_json
from modelyard.sources import checkout, keep, resolve
from modelyard.steps import prepare
from modelyard.steps.context import StepContext
from modelyard.store import ModelVersion, Store

MODEL = """\
name: tiny
description: Above or below a threshold
owner: {name: Tester, url: "mailto:tester@example.com"}
entry: train.py
"""
CONFIG = [{"path": "threshold", "type": "number", "default": 0.5, "doc": None}]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose lock file is the test's to write."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "model.yaml").write_text(MODEL)
    (folder / "train.py").write_text("threshold = 0.5\n")
    return folder


def lock(project: Path) -> None:
    """Write its model.lock.json."""
    write_json(project / LOCKED_FILE, locked(load(project), project, CONFIG))


def asked(store: Store, project: Path, home: Path, **params: Any) -> StepContext:
    """Return what `prepare` of a run with these Params is given."""
    settings = {"environment": "production", "target": "local", "protected": False, "approval": False}
    conf = {key.replace("__", "."): value for key, value in params.items()}
    run = pipeline_run(
        store,
        "tiny",
        "manual__2",
        project={"folder": str(project)},
        params=conf | {"release": False},
        settings=settings,
    )
    return context_of(store, run, "prepare", home)


def test_pins_of_a_file_that_does_not_count_are_not_installed(store: Store, project: Path, tmp_path: Path) -> None:
    (project / "requirements-dev.txt").write_text("six==1.17.0\n")
    lock(project)
    with pytest.raises(ProjectError, match=r"model\.yaml: lock: There is no lock file: none of Pipfile\.lock, .*"):
        prepare.run(asked(store, project, tmp_path))


def candidate(store: Store, project: Path, tmp_path: Path) -> ModelVersion:
    """Register what a laptop made of the project as it is."""
    code = keep(checkout(resolve({"folder": str(project)}), tmp_path / "files"), tmp_path / "files", store.artifacts)
    return version(store, "tiny", project_digest=code.tree_digest, commit=code.commit)


@pytest.mark.parametrize("text", [None, '{"format": 0}'])
def test_a_candidate_needs_no_model_lock_json_to_be_released(
    store: Store, project: Path, tmp_path: Path, text: str | None
) -> None:
    (project / "requirements.txt").write_text("six==1.17.0\n")
    if text is not None:
        (project / LOCKED_FILE).write_text(text)
    made = candidate(store, project, tmp_path)
    prepared = prepare.run(asked(store, project, tmp_path, version=1))
    assert (prepared.version, prepared.tree_digest, prepared.config_updates) == (1, made.project_digest, {})


def test_what_is_trained_cannot_be_configured(store: Store, project: Path, tmp_path: Path) -> None:
    (project / "requirements.txt").write_text("six==1.17.0\n")
    lock(project)
    candidate(store, project, tmp_path)
    with pytest.raises(RequestError, match=r"tiny:1 is trained already, and the run gives it config\.threshold"):
        prepare.run(asked(store, project, tmp_path, version=1, config__threshold=0.6))


def test_a_lock_that_is_missing_is_told_by_the_models_name(store: Store, project: Path, tmp_path: Path) -> None:
    (project / "requirements.txt").write_text("six==1.17.0\n")
    with pytest.raises(ProjectError, match=r"model\.lock\.json: It is missing(.|\n)*modelyard lock tiny$"):
        prepare.run(asked(store, project, tmp_path))
