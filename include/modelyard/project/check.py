"""Is a project sound, before anything runs: model.yaml and every file it leans on, all problems at once."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from modelyard.errors import Problem, ProjectError
from modelyard.project.document import Document, read_document
from modelyard.project.entry import check_entry
from modelyard.project.load import MODEL_FILE, load_document, without_lock
from modelyard.project.lock import check_lock
from modelyard.project.model import Project
from modelyard.project.suites import check_suites
from modelyard.validation import predictions


def check(folder: Path) -> Project:
    """Return the project in ``folder`` when nothing was found against it, its model.lock.json included.

    What only running can tell is not looked at: whether the entry's imports work, whether the data can be fetched.

    Raises:
        ProjectError: with every problem of model.yaml, or, once that can be read, of the files beside it.
    """
    project = check_files(folder)
    if problems := check_lock(project, folder):
        raise ProjectError(problems)
    return project


def check_files(folder: Path) -> Project:
    """Return the project when nothing was found against model.yaml and the files its author writes.

    Raises:
        ProjectError: as :func:`check`.
    """
    document = read_document(folder / MODEL_FILE)
    project = load_document(document, folder)
    problems = [
        *_check_entry_file(project, document, folder),
        *_check_packages(project, document, folder),
        *_check_data(project, document, folder),
        *check_suites(folder, project.data or None),
        *_check_critical_file(project, document, folder),
    ]
    if problems:
        raise ProjectError(problems)
    return project


def _check_entry_file(project: Project, document: Document, folder: Path) -> list[Problem]:
    if (folder / project.entry).is_file():
        return check_entry(folder / project.entry)
    message = f"There is no {project.entry}."
    return [document.problem(["entry"], message, "Name the Python file or notebook of the Sacred experiment.")]


def _check_packages(project: Project, document: Document, folder: Path) -> list[Problem]:
    if project.dockerfile is not None:
        return _check_dockerfile(project, project.dockerfile, document, folder)
    if project.lock is None:
        return [without_lock()]
    return _check_pins(project, project.lock, folder)


def _check_dockerfile(project: Project, name: str, document: Document, folder: Path) -> list[Problem]:
    from modelyard.dockerfile.named_images import named_images

    if not (folder / name).is_file():
        return [document.problem(["dockerfile"], f"There is no {name}.", "Add it, or drop the key.")]
    try:
        named_images((folder / name).read_text(encoding="utf-8", errors="replace"), name)
    except ProjectError as error:
        return error.problems
    return [] if project.lock is None else _check_pins(project, project.lock, folder)


def _check_pins(project: Project, lock: str, folder: Path) -> list[Problem]:
    from modelyard.environments.lock import read_lock

    try:
        names = {pin.name for pin in read_lock(folder / lock).requirements}
    except ProjectError as error:
        return error.problems
    needed = ["sacred", "ipykernel"] if project.entry.endswith(".ipynb") else ["sacred"]
    remedy = "Add it to the project's requirements and lock them again."
    return [
        Problem(lock, None, "", f"It does not hold {name}, which {project.entry} cannot run without.", remedy)
        for name in needed
        if name not in names
    ]


def _check_data(project: Project, document: Document, folder: Path) -> list[Problem]:
    problems = []
    for name, data in project.data.items():
        if not urlsplit(data.uri).scheme and not (folder / data.uri).is_file():
            message = f"There is no {data.uri}."
            problems.append(document.problem(["data", name, "uri"], message, "Add the file, or give an address."))
    return problems


def _check_critical_file(project: Project, document: Document, folder: Path) -> list[Problem]:
    name = project.validation.critical
    if name is None:
        return []
    if not (folder / name).is_file():
        return [document.problem(["validation", "critical"], f"There is no {name}.", "Add it, or drop the key.")]
    try:
        predictions.read(folder / name, name)
    except ProjectError as error:
        return error.problems
    return []
