"""``modelyard new``: a small project that is sound from its first moment, to be changed into one's own."""

from __future__ import annotations

import re
import tempfile
from importlib.resources import as_file, files
from pathlib import Path

from modelyard.errors import RequestError
from modelyard.project.check import check_files
from modelyard.project.lock import LOCKED_FILE, locked, write_json
from modelyard.project.values import check_not_reserved

_NAME = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]")
# What `modelyard lock` would find out by building the environment first.
_CONFIG = [
    {
        "path": "C",
        "type": "number",
        "default": 1.0,
        "doc": "how little the weights are held back: small values make a simpler model",
    }
]


def new(folder: Path) -> bool:
    """Write a project into ``folder``, which must not exist or be empty; the model is named as the folder is.

    Returns:
        True when the project was given a Git repository with a first commit; False when the folder is in one already.

    Raises:
        RequestError: the name cannot be a model's, or something is there already.
    """
    name = folder.name
    if not _NAME.fullmatch(name):
        raise RequestError(
            f"'{name}' cannot be a model's name.",
            "Use 2 to 40 lower-case letters, digits and hyphens, a letter first: it names the image and service, too.",
        )
    try:
        check_not_reserved(name)
    except ValueError as error:
        raise RequestError(f"{error}.", "Give the model another name.") from error
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(f"{folder} exists already.", "Give another name, or empty it.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as temporary:
        draft = Path(temporary, name)
        with as_file(files("modelyard") / "templates" / "project") as template:
            _copy(template, draft, name)
        write_json(draft / LOCKED_FILE, locked(check_files(draft), draft, _CONFIG))
        draft.replace(folder)  # all of it or nothing
    return _commit(folder)


def _copy(template: Path, draft: Path, name: str) -> None:
    for path in sorted(template.rglob("*")):
        target = draft / path.relative_to(template)
        if path.is_dir() or path.suffix == ".pyc":
            continue
        if path.name == "gitignore":  # under its own name it would not be packaged
            target = target.with_name(".gitignore")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text(encoding="utf-8").replace("NAME", name), encoding="utf-8")


def _commit(folder: Path) -> bool:
    from dulwich import porcelain

    from modelyard.sources.tree import open_repository, project_files

    if (around := open_repository(folder)) is not None:
        around.close()
        return False
    with porcelain.init(folder) as repo:
        porcelain.add(repo, paths=[str(folder / name) for name in project_files(folder)])
        porcelain.commit(repo, message=f"Begin {folder.name} from Modelyard's template")
    return True
