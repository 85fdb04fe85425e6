"""TensorFlow SavedModels: the folder that ``tf.saved_model.save`` (or ``model.export`` of Keras) writes.

It is asked by its signature ``serving_default``, else by its only one. A signature of one input takes an array or a
frame's columns side by side, or that one column; one of several inputs takes the columns of their names. A single
output is called ``prediction``.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.client.flavors import FlavorError, Task, Wanted
from modelyard.client.inputs import columns_of, container

_FOLDER = "saved_model"
_SIGNATURE = "serving_default"
# Written beside the graph, with when and by what: nothing reads it when the model is loaded.
_OF_THE_RUN = "fingerprint.pb"


def handles(model: Any) -> bool:
    """Return whether it is the path of such a folder."""
    return isinstance(model, str | Path) and (Path(model) / "saved_model.pb").is_file()


def save(model: Any, folder: Path) -> dict[str, str]:
    """Copy the folder.

    Raises:
        FlavorError: it is none.
    """
    if not handles(model):
        raise FlavorError("flavor 'tensorflow' takes the path of a folder that tf.saved_model.save wrote")
    shutil.copytree(model, folder / _FOLDER, ignore=shutil.ignore_patterns(_OF_THE_RUN))
    return {"model": _FOLDER}


def load(folder: Path, files: Mapping[str, str]) -> Any:
    """Return what TensorFlow makes of the folder."""
    import tensorflow as tf

    return tf.saved_model.load(str(folder / files["model"]))


def predict(model: Any, rows: Any, _wanted: Wanted = None) -> dict[str, Any]:
    """Return the signature's outputs as NumPy arrays, text as text.

    Raises:
        FlavorError: there is no signature to ask, or the rows lack one of its inputs.
    """
    if isinstance(model, str | Path):
        model = load(Path(model), {"model": "."})  # at training time, when the folder is what there is
    function = _signature(model)
    answers = {name: _values(value) for name, value in function(**_feed(function, rows)).items()}
    if len(answers) == 1:
        return {"prediction": next(iter(answers.values()))}
    # TensorFlow sorts them; of a model's outputs the first is what it is scored by.
    return {name: answers[name] for name in sorted(answers, key=lambda name: (name != "prediction", name))}


def task(model: Any) -> Task:  # noqa: ARG001
    """Return None: a graph does not say what its numbers are."""
    return None


def classes(model: Any) -> list[Any] | None:  # noqa: ARG001
    """Return None, likewise."""
    return None


def _signature(model: Any) -> Any:
    names = list(model.signatures)
    name = _SIGNATURE if _SIGNATURE in names or len(names) != 1 else names[0]
    if name not in names:
        raise FlavorError(
            f"the SavedModel has the signatures {', '.join(names) or '(none)'}: save it with "
            "tf.saved_model.save(model, folder, signatures={'serving_default': …})"
        )
    return model.signatures[name]


def _feed(function: Any, rows: Any) -> dict[str, Any]:
    import numpy as np
    import tensorflow as tf

    inputs = function.structured_input_signature[1]
    if container(rows) == "array":
        given = {next(iter(inputs)): np.asarray(rows)}
    else:
        columns = {name: np.asarray(values) for name, values in columns_of(rows).items()}
        matrix = len(inputs) == 1 and list(inputs) != list(columns)
        given = {next(iter(inputs)): np.column_stack(list(columns.values()))} if matrix else columns
    if missing := [name for name in inputs if name not in given]:
        raise FlavorError(f"the SavedModel has inputs {', '.join(inputs)}: the rows lack {', '.join(missing)}")
    feed = {}
    for name, spec in inputs.items():
        tensor = tf.constant(given[name])
        tensor = tensor if tensor.dtype == spec.dtype else tf.cast(tensor, spec.dtype)
        # A column is one number a row to us, and a table of one column to many a graph.
        feed[name] = tensor[:, None] if spec.shape.rank == 2 and tensor.shape.rank == 1 else tensor
    return feed


def _values(tensor: Any) -> Any:
    array = tensor.numpy()
    if array.ndim == 2 and array.shape[1] == 1:
        array = array.reshape(-1)
    return [text.decode() for text in array] if array.dtype == object else array
