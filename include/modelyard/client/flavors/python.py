"""A model of any kind: a folder of files, with the project's own ``predict.py`` to load and ask it.

``predict.py`` lies beside the entry and has two functions: ``load(folder) -> model`` and ``predict(model, rows)``,
where rows are what ``log_model``'s example was, and the answer is a list with one entry a row, or several by name.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from modelyard.client.flavors import FlavorError, Task, Wanted

_FOLDER = "files"


def handles(model: Any) -> bool:
    """Return whether it is a folder."""
    return isinstance(model, str | Path) and Path(model).is_dir()


def save(model: Any, folder: Path) -> dict[str, str]:
    """Copy the folder.

    Raises:
        FlavorError: it is no folder, or there is no ``predict.py``.
    """
    if not handles(model):
        raise FlavorError("flavor 'python' takes the path of a folder with the model's files")
    _code()
    shutil.copytree(model, folder / _FOLDER)
    return {"model": _FOLDER}


def load(folder: Path, files: Mapping[str, str]) -> Any:
    """Return what ``predict.load`` makes of the folder."""
    return _code().load(folder / files["model"])


def predict(model: Any, rows: Any, _wanted: Wanted = None) -> dict[str, Any]:
    """Return what ``predict.predict`` answers; a single answer is called ``prediction``."""
    if isinstance(model, str | Path):
        model = _code().load(Path(model))  # at training time, when the folder is what there is
    answers = _code().predict(model, rows)
    return dict(answers) if isinstance(answers, Mapping) else {"prediction": answers}


def task(model: Any) -> Task:  # noqa: ARG001
    """Return None: code of any kind does not say what it is for."""
    return None


def classes(model: Any) -> list[Any] | None:  # noqa: ARG001
    """Return None, likewise."""
    return None


def _code() -> ModuleType:
    try:
        module = importlib.import_module("predict")
    except ModuleNotFoundError as error:
        if error.name != "predict":
            raise
        raise FlavorError(
            "there is no predict.py beside the entry: it says how the model is loaded and asked"
        ) from error
    for function in ("load", "predict"):
        if not callable(getattr(module, function, None)):
            raise FlavorError(f"{module.__file__} has no function {function}")
    return module
