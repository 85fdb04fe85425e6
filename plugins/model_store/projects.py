"""The projects that get a DAG: model.lock.json files of folders, and of Git repositories as one file lists them.

Read at every parse, so it reads JSON and nothing else: no network, no import of a project, no schema library.

A Git project is an entry of ``git-projects.json``, which ``modelyard lock --git`` writes::

    [{"git": "https://git.example.com/team/wine", "ref": "main", "subfolder": "models/wine",
      "connection": "git_default", "lock": {…its model.lock.json…}}]
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelyard.steps import plan

LOCK_FILE = "model.lock.json"
GIT_FILE = "git-projects.json"
FORMAT = 1

JSON = dict[str, Any]


def configured_folders(setting: str, default: Path) -> list[Path]:
    """Return the folders that ``[modelyard] projects`` names, separated by commas; ``default`` when it names none."""
    return [Path(name.strip()) for name in setting.split(",") if name.strip()] or [default]


@dataclass(frozen=True)
class LockedProject:
    """A model project as its lock shows it.

    Attributes:
        name: the model's name, which is the DAG's id.
        project: model.yaml, resolved.
        config: the Sacred experiment's configuration: ``[{"path", "type", "default", "doc"}]``.
        source: ``{"folder": path}`` or ``{"git": url, "ref": ref, "subfolder": path}``, as the pipeline run records it.
        git_conn_id: the connection with the repository's credentials.
    """

    name: str
    project: JSON
    config: list[JSON]
    source: JSON
    git_conn_id: str | None = None

    @property
    def environments(self) -> dict[str, JSON]:
        """The places it is deployed to, by name."""
        environments: dict[str, JSON] = self.project["deployment"]["environments"]
        return environments

    def resource(self, key: str) -> str | None:
        """Return what model.yaml says of ``resources.STEP.NAME``."""
        _, step, name = key.split(".")
        value: str | None = self.project["steps"].get(step, {}).get("resources", {}).get(name)
        return value

    def asked_for(self, params: Mapping[str, Any]) -> JSON:
        """Return a run's Params without those that say of training and data what this lock says anyway.

        The form sends every field back, and a run may be of another ref, with defaults of its own: what nobody changed
        is the ref's to say. So is approval, which a ref may not know at all.
        """
        defaults: JSON = {"approve": None}
        defaults |= {f"config.{entry['path']}": entry["default"] for entry in self.config}
        defaults |= {f"data.{name}": data["uri"] for name, data in self.project["data"].items()}
        defaults |= {key: self.resource(key) for key in plan.RESOURCE_PARAMS}
        return {key: value for key, value in params.items() if key not in defaults or value != defaults[key]}


@dataclass(frozen=True)
class BrokenProject:
    """A project, or a folder of projects, that cannot be read: shown as a DAG that says so, so that it harms no other.

    Attributes:
        name: its folder's name, as a DAG id.
        error: what is wrong with it, and the remedy.
    """

    name: str
    error: str


def find(folders: Iterable[Path], wanted: str | None = None) -> Iterator[LockedProject | BrokenProject]:
    """Yield each project of ``folders`` once, in the order of their names' folders, every one under a name of its own.

    Of several projects with one name that one has it whose folder is named so, else the first; the others are broken.

    Args:
        folders: each a project, or a folder of projects, with a ``git-projects.json`` beside them if there are any.
        wanted: the one DAG that a worker is about to run. If there is a folder of its name, nothing else is read.
    """
    folders = list(folders)
    if wanted is not None and (found := _in_its_folder(folders, wanted)):
        yield found
        return
    read = [(path, project) for path, reader in _sources(folders) for project in reader(path)]
    yield from (project for project in _told_apart(read) if wanted in (None, project.name))


def _in_its_folder(folders: list[Path], name: str) -> LockedProject | None:
    for folder in filter(_is_readable, folders):
        path = folder / LOCK_FILE
        path = path if path.is_file() else folder / name / LOCK_FILE
        if path.parent.name == name and os.access(path, os.R_OK):
            for project in _read_folder(path):
                if isinstance(project, LockedProject) and project.name == name:
                    return project
    return None


def _told_apart(read: list[tuple[Path, LockedProject | BrokenProject]]) -> Iterator[LockedProject | BrokenProject]:
    chosen: dict[str, tuple[Path, LockedProject | BrokenProject]] = {}
    for path, project in sorted(read, key=_precedence):
        chosen.setdefault(project.name, (path, project))
    names = set(chosen)
    for path, project in read:
        first, winner = chosen[project.name]
        if project is winner:
            yield project
            continue
        error = f"Two projects are named '{project.name}': {first} and {path}\n  → rename one in its model.yaml"
        told = _broken(f"{path.parent.name}-duplicate", project.error if isinstance(project, BrokenProject) else error)
        while told.name in names:
            told = replace(told, name=f"{told.name}-too")
        names.add(told.name)
        yield told


def _precedence(found: tuple[Path, LockedProject | BrokenProject]) -> tuple[bool, bool]:
    path, project = found
    return isinstance(project, BrokenProject), (path.parent.name, path.name) != (project.name, LOCK_FILE)


def _sources(folders: list[Path]) -> Iterator[tuple[Path, Any]]:
    readable = [folder for folder in folders if _is_readable(folder)]
    yield from ((folder, _tell_unreadable) for folder in folders if folder not in readable)
    for folder in readable:
        if (folder / LOCK_FILE).is_file():
            yield folder / LOCK_FILE, _read_folder
            continue
        yield from ((path, _read_folder) for path in sorted(folder.glob(f"*/{LOCK_FILE}")))
        if (folder / GIT_FILE).is_file():
            yield folder / GIT_FILE, _read_git


def _is_readable(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.X_OK) and folder.is_dir()


def _tell_unreadable(folder: Path) -> Iterator[BrokenProject]:
    folder = folder.absolute()
    message = f"{folder}, which [modelyard] projects names, is no folder that Airflow can read"
    remedy = "correct [modelyard] projects in airflow.cfg (or AIRFLOW__MODELYARD__PROJECTS), or make the folder"
    # The whole path: several folders may have the same last name.
    yield _broken(f"{folder}-unreadable", f"{message}\n  → {remedy}")


def _broken(name: str, error: str) -> BrokenProject:
    return BrokenProject(re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-"), error)


def _read_folder(path: Path) -> Iterator[LockedProject | BrokenProject]:
    folder = path.parent
    try:
        yield _locked(json.loads(path.read_bytes()), {"folder": str(folder.resolve())}, None)
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield _broken(folder.name, f"{path}: {_told(error)}\n  → write it anew with: modelyard lock {folder}")


def _read_git(path: Path) -> Iterator[LockedProject | BrokenProject]:
    name, remedy = f"{path.parent.name}-git-projects", "each entry is {git, ref, subfolder, connection, lock}"
    try:
        entries = list(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        yield _broken(name, f"{path}: {_told(error)}\n  → {remedy}")
        return
    for number, entry in enumerate(entries, start=1):
        try:
            source = {"git": entry["git"], "ref": entry.get("ref"), "subfolder": entry.get("subfolder") or ""}
            yield _locked(entry["lock"], source, entry.get("connection"))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            yield _broken(f"{name}-{number}", f"{path}, entry {number}: {_told(error)}\n  → {remedy}")


def _locked(lock: JSON, source: JSON, git_conn_id: str | None) -> LockedProject:
    if lock["format"] != FORMAT:
        raise ValueError(f"format {lock['format']} is not the one this Modelyard reads ({FORMAT})")
    project = lock["project"]
    if not isinstance(project["name"], str):
        raise TypeError("its project has no name")
    # Read here, where it breaks this project alone: the rollback's DAG is made of all projects' environments.
    if not isinstance(environments := project["deployment"]["environments"], dict) or not environments:
        raise ValueError("its project has no environment to deploy to")
    return LockedProject(project["name"], project, lock["config"], source, git_conn_id)


def _told(error: Exception) -> str:
    return f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
