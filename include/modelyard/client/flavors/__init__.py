"""Flavors: how models of one library are saved, loaded and asked; one module each, and nothing of it elsewhere.

A flavor module has:

- ``handles(model)``: whether a model is of this flavor;
- ``save(model, folder)``: writes it, in the library's own format, the same bytes for the same model, and returns
  the files by what they are (``{"model": "model.joblib"}``);
- ``load(folder, files)``: the model again;
- ``predict(model, rows, wanted)``: its answers by output name, one entry for each row; it may leave out what is not
  wanted (None: all are), where that saves time;
- ``task(model)``: ``classification``, ``regression`` or None;
- ``classes(model)``: in the order of the probabilities, or None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol, cast

Task = Literal["classification", "regression"] | None
Wanted = Sequence[str] | None

# In the order they are asked: what is more special comes first.
NAMES = ("xgboost", "lightgbm", "onnx", "torch", "keras", "tensorflow", "pyfunc", "sklearn", "python")


class Flavor(Protocol):
    """What every module of this package offers; described at its top."""

    def handles(self, model: Any) -> bool: ...  # noqa: D102
    def save(self, model: Any, folder: Path) -> dict[str, str]: ...  # noqa: D102
    def load(self, folder: Path, files: Mapping[str, str]) -> Any: ...  # noqa: D102
    def predict(self, model: Any, rows: Any, wanted: Wanted = None, /) -> dict[str, Any]: ...  # noqa: D102
    def task(self, model: Any) -> Task: ...  # noqa: D102
    def classes(self, model: Any) -> list[Any] | None: ...  # noqa: D102


class FlavorError(ValueError):
    """A model cannot be saved: what it is, and what to do instead."""


def named(name: str) -> Flavor:
    """Return a flavor by its name.

    Raises:
        FlavorError: there is none of that name.
    """
    if name not in NAMES:
        raise FlavorError(f"there is no flavor '{name}': use one of {', '.join(NAMES)}")
    return cast("Flavor", import_module(f"{__name__}.{name}"))


def name_of(model: Any) -> str:
    """Return the name of the flavor that handles a model.

    Raises:
        FlavorError: none does.
    """
    for name in NAMES:
        if named(name).handles(model):
            return name
    raise FlavorError(
        f"a {type(model).__module__}.{type(model).__qualname__} is of no flavor that Modelyard knows "
        f"({', '.join(NAMES)}): save it to a folder yourself and give that folder with flavor='python'; "
        "predict.py beside train.py then says how it is loaded and asked"
    )
