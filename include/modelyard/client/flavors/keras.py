"""Keras 3, on any of its backends, as ``.keras`` files; loading one runs no code that is in it (Keras' safe mode).

A layer of the project's own is found again where it is registered (``keras.saving.register_keras_serializable``) in a
module that ``predict.py`` beside the entry imports, or that Keras knows by its class's path.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.client.flavors import FlavorError, Task, Wanted

_FILE, _BACKEND = "model.keras", "backend.txt"
_METADATA = "metadata.json"


def handles(model: Any) -> bool:
    """Return whether it is a model of Keras 3."""
    return any(
        kind.__module__.startswith("keras.src.") and kind.__name__ in ("Model", "Functional", "Sequential")
        for kind in type(model).__mro__
    )


def save(model: Any, folder: Path) -> dict[str, str]:
    """Write ``model.keras``, and which backend it was trained on.

    Raises:
        FlavorError: it is no model of Keras 3.
    """
    if not handles(model):
        raise FlavorError("flavor 'keras' takes a model of Keras 3")
    import keras

    written = folder / f"written-{_FILE}"
    model.save(written)
    _without_time(written, folder / _FILE)
    written.unlink()
    (folder / _BACKEND).write_text(keras.backend.backend(), encoding="utf-8")
    return {"model": _FILE, "backend": _BACKEND}


def load(folder: Path, files: Mapping[str, str]) -> Any:
    """Return the model; on its backend, unless the process has another one already.

    Raises:
        FlavorError: it is on another backend, which rounds in its own way.
    """
    backend = (folder / files["backend"]).read_text(encoding="utf-8")
    os.environ["KERAS_BACKEND"] = backend  # read when Keras is imported
    import keras

    if keras.backend.backend() != backend:
        raise FlavorError(f"the model was trained on Keras' backend {backend}, here it is {keras.backend.backend()}")
    return keras.saving.load_model(folder / files["model"], compile=False)


def predict(model: Any, rows: Any, _wanted: Wanted = None) -> dict[str, Any]:
    """Return the answers as NumPy arrays: a single one is ``prediction``, others have their outputs' names.

    A model of one input takes an array, or a frame's columns side by side; one of several takes the columns that have
    its inputs' names.
    """
    import keras
    import numpy as np

    given: Any
    if len(model.inputs) > 1:
        given = {name: np.asarray(rows[name]).reshape(-1, 1) for name in (one.name for one in model.inputs)}
    else:
        given = np.ascontiguousarray(rows)  # rows one after the other, as they come from JSON
    answers = model(given, training=False)
    if isinstance(answers, Mapping):
        named = dict(answers)
    elif isinstance(answers, list | tuple):
        named = dict(zip(model.output_names, answers, strict=True))
    else:
        named = {"prediction": answers}
    return {name: keras.ops.convert_to_numpy(value) for name, value in named.items()}


def task(model: Any) -> Task:  # noqa: ARG001
    """Return None: a network does not say what its numbers are."""
    return None


def classes(model: Any) -> list[Any] | None:  # noqa: ARG001
    """Return None, likewise."""
    return None


def _without_time(written: Path, kept: Path) -> None:
    """Copy the archive without the times in it: the same model is the same file."""
    with zipfile.ZipFile(written) as source, zipfile.ZipFile(kept, "w") as target:
        for name in sorted(source.namelist()):
            data = source.read(name)
            if name == _METADATA:
                metadata = json.loads(data)
                metadata.pop("date_saved", None)
                data = json.dumps(metadata).encode()
            target.writestr(zipfile.ZipInfo(name), data)
