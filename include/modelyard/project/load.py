"""Read a project's model.yaml, and tell every mistake in it with its line and its remedy."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from modelyard.errors import Problem, ProjectError
from modelyard.project.document import Document, read_document
from modelyard.project.model import DOCKERFILE, Project

MODEL_FILE = "model.yaml"
LOCK_FILES = ("Pipfile.lock", "pylock.toml", "uv.lock", "requirements.txt")
CRITICAL_FILE = "critical.jsonl"


def load(folder: Path) -> Project:
    """Return the project in ``folder``, defaults filled in and files found.

    ``lock``, ``dockerfile`` and ``validation.critical`` name the files that are there; ``lock`` stays None when there
    is no lock file, and where there is a Dockerfile.
    The files themselves are looked at by :func:`modelyard.project.check.check`.

    Raises:
        ProjectError: with every problem of model.yaml.
    """
    return load_document(read_document(folder / MODEL_FILE), folder)


def load_document(document: Document, folder: Path) -> Project:
    """Validate a model.yaml that was read already; see :func:`load`."""
    problems = list(document.problems)
    if not isinstance(document.value, dict):
        remedy = "It starts with a line like: name: my-model"
        raise ProjectError([*problems, Problem(document.name, 1, "", "It holds no keys.", remedy)])
    try:
        project = Project.model_validate(document.value)
    except ValidationError as error:
        problems += [_problem(details, document) for details in error.errors(include_url=False)]
        problems.sort(key=lambda problem: problem.line or 0)
        raise ProjectError(problems) from error
    if project.dockerfile is None and (folder / DOCKERFILE).is_file():
        project = project.model_copy(update={"dockerfile": DOCKERFILE})
    # The image is the environment then; a lock counts, for this machine, only where it is named.
    locks = [] if project.dockerfile else [name for name in LOCK_FILES if (folder / name).is_file()]
    if project.lock is None and len(locks) > 1:
        remedy = f"Say which one counts, e.g.: lock: {locks[0]}"
        problems.append(document.problem(["lock"], f"There are several lock files: {', '.join(locks)}.", remedy))
    if project.dockerfile is not None and len(project.image.platforms) > 1:
        message = f"{project.dockerfile} is built for one platform: that of the machine that the pipeline runs on."
        remedy = f"Name that one alone, or lock the packages and do without {project.dockerfile}."
        problems.append(document.problem(["image", "platforms"], message, remedy))
    if problems:
        raise ProjectError(problems)
    return _resolve(project, folder, locks)


def without_lock() -> Problem:
    """Return what is said of a project that needs a lock file and has none."""
    remedy = (
        "Pin every package, e.g.: uv pip compile --generate-hashes requirements.in -o requirements.txt; "
        "or name the file that does: lock: requirements-all.txt"
    )
    return Problem(MODEL_FILE, None, "lock", f"There is no lock file: none of {', '.join(LOCK_FILES)}.", remedy)


def _resolve(project: Project, folder: Path, locks: Sequence[str]) -> Project:
    found: dict[str, Any] = {}
    if project.lock is None and locks:
        found["lock"] = locks[0]
    if project.validation.critical is None and (folder / CRITICAL_FILE).is_file():
        found["validation"] = project.validation.model_copy(update={"critical": CRITICAL_FILE})
    return project.model_copy(update=found)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a sentence that names the known word nearest to ``word``, or all of them."""
    words = list(known)
    close = difflib.get_close_matches(word, words, n=1)
    return f"Did you mean '{close[0]}'?" if close else f"Known here: {', '.join(words)}."


def _problem(details: ErrorDetails, document: Document) -> Problem:
    kind, location = details["type"], details["loc"]
    path = list(document.known(location))
    name = str(path[-1]) if path else ""
    if kind == "missing":
        return document.problem([*path, location[-1]], "is missing.", _meaning([*path, location[-1]]))
    if location and location[-1] == "[key]":
        return document.problem(path, f"'{name}' is no name that may stand here.", _key_remedy(name, details))
    if kind == "extra_forbidden":
        remedy = nearest(name, _section(path[:-1]).model_fields)
        return document.problem(path, "is no key that model.yaml knows.", remedy)
    return document.problem(path, _wrong_value(kind, details["msg"], details["input"]), _meaning(path))


def _wrong_value(kind: str, message: str, value: Any) -> str:
    if kind == "value_error":
        return f"{message.removeprefix('Value error, ')}."
    if kind == "string_pattern_mismatch":
        return f"{_shown(value)} does not have the form that is needed here."
    return f"should be {message.removeprefix('Input should be ')}, and is {_shown(value)}."


def _key_remedy(name: str, details: ErrorDetails) -> str:
    if details["type"] == "literal_error":
        return nearest(name, [word.strip(" '") for word in details["ctx"]["expected"].replace(" or ", ", ").split(",")])
    return "Use lower-case letters, digits and hyphens, a letter first."


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _meaning(path: Sequence[str | int]) -> str:
    """Return what the key at ``path`` is for, with an example: the remedy of a wrong value."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    section = _section(path[:-1])
    field = section.model_fields.get(str(path[-1])) if path else None
    if field is None:
        return (section.__doc__ or "").strip().splitlines()[0]
    example = f" Example: {field.examples[0]!r}." if field.examples else ""
    return f"{field.description}{example}"


def _section(path: Sequence[str | int]) -> type[BaseModel]:
    """Return the model that describes the mapping at ``path``."""
    section: type[BaseModel] = Project
    for element in path:
        field = section.model_fields.get(str(element))
        if field is not None:
            section = next(_models(field.annotation), section)
    return section


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models within an annotation: of ``dict[str, DataSet]`` DataSet."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and not typing.get_args(annotation):
        yield annotation
    elif isinstance(annotation, types.UnionType) or typing.get_args(annotation):
        for part in typing.get_args(annotation):
            yield from _models(part)
