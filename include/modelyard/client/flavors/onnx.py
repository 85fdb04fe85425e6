"""ONNX models, asked by onnxruntime: the very file is served, by the model server itself.

A model of one input takes a frame's columns side by side, one of several inputs takes the column of each one's name.
A single output is called ``prediction``; a label and a table of numbers, which converters make of a classifier, are
``prediction`` and ``probability``, of the classes that the model's metadata ``classes`` lists (JSON); other outputs
have their own names.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.client.flavors import FlavorError, Task, Wanted
from modelyard.client.inputs import columns_of, container

FILE = "model.onnx"
CLASSES = "classes"  # the metadata's key
_NUMPY_TYPES = {"float": "float32", "double": "float64", "string": "object"}


def handles(model: Any) -> bool:
    """Return whether it is a model that ``onnx`` has in memory, or the path of a file ``….onnx``."""
    if isinstance(model, str | Path):
        return Path(model).suffix == ".onnx" and Path(model).is_file()
    return type(model).__name__ == "ModelProto" and type(model).__module__.startswith("onnx")


def save(model: Any, folder: Path) -> dict[str, str]:
    """Write ``model.onnx``, as it is.

    Raises:
        FlavorError: it is neither of what ``handles`` takes.
    """
    if not handles(model):
        raise FlavorError("flavor 'onnx' takes a model of the onnx package, or the path of a file ending in .onnx")
    if isinstance(model, str | Path):
        shutil.copyfile(model, folder / FILE)
    else:
        (folder / FILE).write_bytes(model.SerializeToString(deterministic=True))
    return {"model": FILE}


def load(folder: Path, files: Mapping[str, str]) -> Any:
    """Return a session of onnxruntime."""
    return _session(folder / files["model"])


def predict(model: Any, rows: Any, _wanted: Wanted = None) -> dict[str, Any]:
    """Return the outputs, one entry for each row.

    Raises:
        FlavorError: rows and the model's inputs do not go together, or an output is no array.
    """
    session = _session(model)
    found = session.run(None, _feed(session.get_inputs(), rows))
    names = [output.name for output in session.get_outputs()]
    for name, values in zip(names, found, strict=True):
        if not hasattr(values, "dtype"):
            raise FlavorError(
                f"output '{name}' of the ONNX model is a sequence, and no array: convert a classifier without "
                "ZipMap (skl2onnx: options={'zipmap': False})"
            )
    if len(found) == 1:
        (values,) = found
        return {"prediction": values.reshape(-1) if values.shape == (len(rows), 1) else values}
    return dict(zip(("prediction", "probability") if _is_classifier(session) else names, found, strict=True))


def task(model: Any) -> Task:
    """Return ``classification`` for a label and a table of numbers; None otherwise: a graph does not tell."""
    return "classification" if _is_classifier(_session(model)) else None


def classes(model: Any) -> list[Any] | None:
    """Return what the model's metadata say of its classes, in the order of the probabilities."""
    listed = _session(model).get_modelmeta().custom_metadata_map.get(CLASSES)
    known: list[Any] | None = None if listed is None else json.loads(listed)
    return known


def by_name(names: list[str], columns: list[str]) -> bool:
    """Return whether a model with inputs of these names takes columns one by one, and not side by side."""
    return len(names) > 1 or names == columns


def _session(model: Any) -> Any:
    import onnxruntime

    if isinstance(model, onnxruntime.InferenceSession):
        return model
    source = str(model) if isinstance(model, str | Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])


def _feed(inputs: Any, rows: Any) -> dict[str, Any]:
    import numpy as np

    names = [given.name for given in inputs]
    if container(rows) == "array":
        if len(names) > 1:
            raise FlavorError(f"the ONNX model has inputs {', '.join(names)}: give a frame with columns of these names")
        return {names[0]: np.asarray(rows).astype(_numpy_type(inputs[0]))}
    columns = columns_of(rows)
    if not by_name(names, list(columns)):
        return {names[0]: np.column_stack(list(columns.values())).astype(_numpy_type(inputs[0]))}
    if sorted(names) != sorted(columns):
        raise FlavorError(f"the ONNX model has inputs {', '.join(names)}, the example columns {', '.join(columns)}")
    return {
        given.name: np.asarray(columns[given.name])
        .astype(_numpy_type(given))
        .reshape(-1, *[1] * (len(given.shape) - 1))
        for given in inputs
    }


def _numpy_type(given: Any) -> str:
    kind: str = given.type.removeprefix("tensor(").removesuffix(")")
    return _NUMPY_TYPES.get(kind, kind)


def _is_classifier(session: Any) -> bool:
    outputs = session.get_outputs()
    if len(outputs) != 2:
        return False
    label, table = outputs
    return (
        label.type in ("tensor(int64)", "tensor(int32)", "tensor(string)", "tensor(bool)")
        and table.type in ("tensor(float)", "tensor(double)")
        and len(label.shape) == 1
        and len(table.shape) == 2
    )
