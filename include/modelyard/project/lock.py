"""model.lock.json: what Airflow needs to know of a project to show its DAG, without reading or running the project.

It is committed beside model.yaml and is the same, byte for byte, wherever it is written:

    {"format": 1,
     "project": model.yaml, resolved,
     "config": [{"path": "model.C", "type": "number", "default": 1.0, "doc": "…"}, …],
     "source_hash": "sha256:…",
     "source": {"folder": "."}}
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from modelyard.errors import Problem, ProjectError
from modelyard.project.entry import read_cells
from modelyard.project.load import MODEL_FILE
from modelyard.project.model import Project

LOCKED_FILE = "model.lock.json"
FORMAT = 1

JSON = dict[str, Any]


def source_hash(project: Project, folder: Path) -> str:
    """Return the hash of what a lock was made from: model.yaml, the entry's code and the locked packages.

    Of a notebook only the code counts: running it and saving its output makes no lock stale.

    Raises:
        ProjectError: a file of these cannot be read.
    """
    digest = hashlib.sha256()
    code = "\0".join(cell.source for cell in read_cells(folder / project.entry)).encode()
    packages = b"" if project.lock is None else (folder / project.lock).read_bytes()
    for part in ((folder / MODEL_FILE).read_bytes(), code, packages):
        digest.update(hashlib.sha256(part).digest())
    return f"sha256:{digest.hexdigest()}"


def locked(project: Project, folder: Path, config: list[JSON]) -> JSON:
    """Return what model.lock.json holds for this project.

    Args:
        project: as :func:`modelyard.project.load` returned it.
        folder: the project.
        config: the experiment's configuration, as ``modelyard.client.describe`` tells it. Paths of declared data are
            left out: a run is given them as ``data.<name>``, by address.
    """
    declared = {f"data.{name}" for name in project.data}
    return {
        "format": FORMAT,
        "project": project.to_json(),
        "config": [entry for entry in config if entry["path"] not in declared],
        "source_hash": source_hash(project, folder),
        "source": {"folder": "."},
    }


def read_lock(folder: Path, name: str | None = None) -> JSON:
    """Return the content of a project's model.lock.json.

    Args:
        folder: the project.
        name: of its folder, as a person has it: a step has the project in a folder of its own.

    Raises:
        ProjectError: it is missing, no JSON, or of another format.
    """
    remedy = f"Write it with: modelyard lock {name or folder.name}"
    try:
        content = json.loads((folder / LOCKED_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        message = "It is missing, so that Airflow cannot show this model."
        raise ProjectError([Problem(LOCKED_FILE, None, "", message, remedy)]) from error
    except (OSError, ValueError) as error:
        raise ProjectError([Problem(LOCKED_FILE, None, "", f"It cannot be read: {error}", remedy)]) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        message = f"It is of another format than {FORMAT}, the one this version of Modelyard writes."
        raise ProjectError([Problem(LOCKED_FILE, None, "format", message, remedy)])
    return content


def check_lock(project: Project, folder: Path) -> list[Problem]:
    """Return the problem of a lock that is missing or stale; none when it says what the project says."""
    try:
        # By the model's name, as its folder is mostly called.
        content = read_lock(folder, project.name)
        current = source_hash(project, folder)
    except ProjectError as error:
        return error.problems
    if content.get("project") == project.to_json() and content.get("source_hash") == current:
        return []
    files = [MODEL_FILE, project.entry, *([] if project.lock is None else [project.lock])]
    changed = f"{', '.join(files[:-1])} or {files[-1]}"
    message = f"It is stale: {changed} changed after it was written."
    return [Problem(LOCKED_FILE, None, "", message, f"Write it anew with: modelyard lock {project.name}")]


def write_json(path: Path, content: Any) -> bool:
    """Write ``content`` as readable, byte-stable JSON; return whether the file changed.

    The file is replaced as a whole: whoever reads it meanwhile sees the old or the new one.
    """
    data = (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
    if path.is_file() and path.read_bytes() == data:
        return False
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return True
