"""MLflow models, asked through MLflow's ``pyfunc``: a folder with an ``MLmodel`` file, or a ``PythonModel``."""

from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.client.flavors import FlavorError, Task, Wanted

_FOLDER = "mlflow"
_DESCRIPTION = "MLmodel"
# When and by which run it was saved: MLflow needs none of it to load the model, which would never be the same twice.
_OF_THE_RUN = re.compile(r"(?m)^(artifact_path|model_id|model_size_bytes|model_uuid|run_id|utc_time_created): .*\n")


def handles(model: Any) -> bool:
    """Return whether it is such a folder, or descends from ``mlflow.pyfunc.PythonModel``."""
    if isinstance(model, str | Path):
        return (Path(model) / _DESCRIPTION).is_file()
    return any(kind.__name__ == "PythonModel" and kind.__module__.startswith("mlflow.") for kind in type(model).__mro__)


def save(model: Any, folder: Path) -> dict[str, str]:
    """Copy the folder, or have MLflow write it.

    Raises:
        FlavorError: it is neither of what ``handles`` takes.
    """
    if not handles(model):
        raise FlavorError(
            "flavor 'pyfunc' takes the path of a folder that mlflow.….save_model wrote, or an mlflow.pyfunc.PythonModel"
        )
    kept = folder / _FOLDER
    if isinstance(model, str | Path):
        shutil.copytree(model, kept)
    else:
        import mlflow.pyfunc

        # Without requirements MLflow would look for them by running the model in a process of its own; they are locked.
        mlflow.pyfunc.save_model(kept, python_model=model, pip_requirements=[])
    description = kept / _DESCRIPTION
    description.write_text(_OF_THE_RUN.sub("", description.read_text(encoding="utf-8")), encoding="utf-8")
    return {"model": _FOLDER}


def load(folder: Path, files: Mapping[str, str]) -> Any:
    """Return the model as MLflow loads it."""
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(str(folder / files["model"]))


def predict(model: Any, rows: Any, _wanted: Wanted = None) -> dict[str, Any]:
    """Return what the model answers: a frame's columns or a dictionary by name, anything else as ``prediction``."""
    if isinstance(model, str | Path):
        model = load(Path(model), {"model": "."})  # at training time, when the folder is what there is
    answers = model.predict(rows) if hasattr(model, "metadata") else _answers_of_python_model(model, rows)
    if hasattr(answers, "columns"):
        answers = {str(name): answers[name] for name in answers.columns}
    if not isinstance(answers, Mapping):
        return {"prediction": _plain(answers)}
    if len(answers) == 1:
        return {"prediction": _plain(next(iter(answers.values())))}
    return {name: _plain(values) for name, values in answers.items()}


def _plain(values: Any) -> Any:
    return values.to_numpy() if hasattr(values, "to_numpy") else values


def task(model: Any) -> Task:  # noqa: ARG001
    """Return None: a pyfunc does not say what it is for."""
    return None


def classes(model: Any) -> list[Any] | None:  # noqa: ARG001
    """Return None, likewise."""
    return None


def _answers_of_python_model(model: Any, rows: Any) -> Any:
    # As MLflow calls it; a context names the files of a saved model, and there are none yet.
    context = [None] if "context" in inspect.signature(model.predict).parameters else []
    return model.predict(*context, rows)
