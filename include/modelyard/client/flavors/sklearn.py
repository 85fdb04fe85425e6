"""scikit-learn estimators and pipelines, and whatever keeps to their interface, as joblib files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.client.flavors import FlavorError, Task, Wanted

_FILE = "model.joblib"
_CHUNK = 1024 * 1024


def handles(model: Any) -> bool:
    """Return whether it descends from a class of scikit-learn."""
    return any(kind.__module__.partition(".")[0] == "sklearn" for kind in type(model).__mro__)


def save(model: Any, folder: Path) -> dict[str, str]:
    """Write ``model.joblib``.

    Raises:
        FlavorError: it can't predict, or refers to code of the training script, which the service does not run.
    """
    import joblib

    if not callable(getattr(model, "predict", None)):
        raise FlavorError(
            f"{type(model).__name__} has no predict method: give the whole pipeline, its last step a model"
        )
    joblib.dump(model, folder / _FILE)
    if _mentions_main(folder / _FILE):
        raise FlavorError(
            "the model refers to a class or function of the training script itself, which no service can import: "
            "move it to a module of its own beside the script, and import it from there"
        )
    return {"model": _FILE}


def load(folder: Path, files: Mapping[str, str]) -> Any:
    """Return the estimator again."""
    import joblib

    return joblib.load(folder / files["model"])


def predict(model: Any, rows: Any, wanted: Wanted = None) -> dict[str, Any]:
    """Return ``prediction`` and, where a classifier gives them, ``probability`` of each class.

    Many classifiers do all their work once more for the second: it is left out where nobody wants it.
    """
    model, rows = _transformed(model, rows)
    outputs = {"prediction": model.predict(rows)}
    if (wanted is None or "probability" in wanted) and callable(getattr(model, "predict_proba", None)):
        probability = model.predict_proba(rows)
        # Several outputs at once come as a list of tables, which have no single order of classes.
        if getattr(probability, "ndim", 0) == 2:
            outputs["probability"] = probability
    return outputs


def _transformed(model: Any, rows: Any) -> tuple[Any, Any]:
    """Take the rows through a pipeline's transformers once for both questions: they are most of the time."""
    from sklearn.pipeline import Pipeline

    if type(model) is not Pipeline or not callable(getattr(model.steps[-1][1], "predict", None)):
        return model, rows
    for _, transformer in model.steps[:-1]:
        if transformer is not None and transformer != "passthrough":
            rows = transformer.transform(rows)
    return model.steps[-1][1], rows


def task(model: Any) -> Task:
    """Return what scikit-learn itself says the model is for."""
    from sklearn.base import is_classifier, is_regressor

    if is_classifier(model):
        return "classification"
    return "regression" if is_regressor(model) else None


def classes(model: Any) -> list[Any] | None:
    """Return the classes in the order of the probabilities."""
    known = getattr(model, "classes_", None)
    if getattr(known, "ndim", 0) != 1:
        return None
    labels: list[Any] = known.tolist()  # type: ignore[union-attr]
    return labels


def _mentions_main(path: Path) -> bool:
    # A pickle names the module of every class and function in plain text.
    name, tail = b"__main__", b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            if name in tail + chunk:
                return True
            tail = chunk[-len(name) :]
    return False
