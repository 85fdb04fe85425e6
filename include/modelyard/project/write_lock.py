"""What ``modelyard lock`` does: a project's model.lock.json, or its entry in a list of Git projects."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelyard.credential_places import credential_places
from modelyard.errors import Problem, ProjectError
from modelyard.project.check import check, check_files
from modelyard.project.experiment import describe
from modelyard.project.lock import LOCKED_FILE, locked, read_lock, write_json
from modelyard.sources import Credentials, checkout, resolve

GIT_FILE = "git-projects.json"


def write_lock(folder: Path, home: Path, progress: Callable[[str], None]) -> bool:
    """Write the model.lock.json of a project and return whether it changed.

    Builds the project's environment first, unless this machine has it, and asks the experiment in it. A project with a
    Dockerfile and no lock file has none here: the ``python3`` on the PATH is asked.

    Args:
        folder: the project.
        home: this machine's folder, for the environment.
        progress: given a line now and then.

    Raises:
        ProjectError: with every problem of the project.
        EnvironmentBuildError, Unavailable: its packages cannot be installed.
    """
    from modelyard.environments import ensure, python_of, read_lock
    from modelyard.images.layout import Layout

    project = check_files(folder)
    if project.lock is None:
        python = _python_on_path()
        progress(
            f"Asking {project.entry} for its configuration by {python}: the project has a Dockerfile and no lock file"
        )
    else:
        images = Layout(home / "images")
        python = python_of(ensure(read_lock(folder / project.lock), images, home, progress), images, home)
        progress(f"Asking {project.entry} for its configuration")
    config = describe(folder, project.entry, python, credential_places(home))
    return write_json(folder / LOCKED_FILE, locked(project, folder, config))


def _python_on_path() -> Path:
    found = shutil.which("python3")
    if found is None:
        message = "A project with a Dockerfile and no lock file is asked by the python3 on the PATH, and there is none."
        remedy = "Activate an environment that can import the entry, or name a lock file: lock: requirements.txt"
        raise ProjectError([Problem("model.yaml", None, "lock", message, remedy)])
    return Path(found)


def write_git_entry(into: Path, source: dict[str, Any], connection: str | None, credentials: Credentials | None) -> str:
    """Enter a Git project into the list in the folder ``into`` and return the model's name.

    The list holds a copy of the repository's own model.lock.json, so that showing the DAG needs no network.

    Args:
        into: a folder that Airflow reads projects from.
        source: ``{"git": url, "ref": ref, "subfolder": path}``.
        connection: id of the Airflow connection that holds user and token, if the server asks.
        credentials: the same, for now.

    Raises:
        ProjectError: the project is not sound, or its model.lock.json is missing or stale.
        RequestError, Unavailable: as :func:`modelyard.sources.resolve`.
    """
    with tempfile.TemporaryDirectory(prefix="modelyard-lock-") as temporary:
        folder = Path(temporary, "project")
        checkout(resolve(source, credentials=credentials), folder)
        project = check(folder)
        entry = {**source, "connection": connection, "lock": read_lock(folder)}
    path = into / GIT_FILE
    entries = [one for one in _entries(path) if one["lock"]["project"]["name"] != project.name]
    entries.append(entry)
    write_json(path, sorted(entries, key=lambda one: str(one["lock"]["project"]["name"])))
    return project.name


def _entries(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        entries: list[dict[str, Any]] = json.loads(path.read_bytes())
        if not isinstance(entries, list):
            raise TypeError("it is no list")
        for entry in entries:
            str(entry["lock"]["project"]["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"It cannot be read: {error!r}"
        raise ProjectError(
            [Problem(path.name, None, "", message, "Correct it, or delete it to begin anew.")]
        ) from error
    return entries
