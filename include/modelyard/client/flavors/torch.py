"""PyTorch: a program of ``torch.export``, or the weights of a module whose class is in the project's code.

Weights are read with ``weights_only``: loading a file runs no code that is in it. A module is built again from its
class and the arguments that it was made with, which it keeps as attributes of the same names (as scikit-learn's do).

A module takes one tensor: the example's array, or a frame's columns side by side. A tensor that it answers is
``prediction``; a dictionary of tensors has the outputs by name. An attribute ``task`` of the module, ``classification``
or ``regression``, says what its answers are, and ``classes`` in which order its probabilities come.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from modelyard.client.flavors import FlavorError, Task, Wanted

_PROGRAM, _WEIGHTS, _MODULE = "program.pt2", "weights.pt", "module.json"
_EXPORT = "give torch.export.export(model.eval(), (rows,), dynamic_shapes=({0: torch.export.Dim.AUTO},)) instead"


def handles(model: Any) -> bool:
    """Return whether it is a module of PyTorch or an exported program."""
    return any(
        kind.__module__.startswith("torch.") and kind.__name__ in ("Module", "ExportedProgram")
        for kind in type(model).__mro__
    )


def save(model: Any, folder: Path) -> dict[str, str]:
    """Write ``program.pt2``, or ``weights.pt`` and what builds the module: ``module.json``.

    Raises:
        FlavorError: it is neither, or the module can't be built again from what it says of itself.
    """
    if not handles(model):
        raise FlavorError("flavor 'torch' takes a torch.nn.Module, or what torch.export.export returned")
    import torch

    if isinstance(model, torch.export.ExportedProgram):
        torch.export.save(model, folder / _PROGRAM)
        return {"program": _PROGRAM}
    kind = type(model)
    if kind.__module__ == "__main__":
        raise FlavorError(
            f"{kind.__name__} is a class of the training script itself, which no service can import: "
            "move it to a module of its own beside the script, and import it from there"
        )
    built = {"class": f"{kind.__module__}:{kind.__qualname__}", "arguments": _arguments(model)}
    (folder / _MODULE).write_text(json.dumps(built) + "\n", encoding="utf-8")
    torch.save({name: value.cpu() for name, value in model.state_dict().items()}, folder / _WEIGHTS)
    return {"weights": _WEIGHTS, "module": _MODULE}


def load(folder: Path, files: Mapping[str, str]) -> Any:
    """Return the module, on the processor, for answers alone."""
    import torch

    if "program" in files:
        return torch.export.load(folder / files["program"])
    built = json.loads((folder / files["module"]).read_text(encoding="utf-8"))
    module, _, name = built["class"].partition(":")
    kind: Any = import_module(module)
    for part in name.split("."):
        kind = getattr(kind, part)
    model = kind(**built["arguments"])
    model.load_state_dict(torch.load(folder / files["weights"], map_location="cpu", weights_only=True))
    return model.eval()


def predict(model: Any, rows: Any, _wanted: Wanted = None) -> dict[str, Any]:
    """Return the answers as NumPy arrays; a module that is training answers as one that is not."""
    import numpy as np
    import torch

    module = model.module() if isinstance(model, torch.export.ExportedProgram) else model
    floats = (parameter for parameter in module.parameters() if parameter.is_floating_point())
    like = next(floats, torch.zeros(0))
    # Rows one after the other, as they come from JSON: over another order PyTorch adds up in another one.
    given = torch.as_tensor(np.ascontiguousarray(rows), device=like.device)
    if given.is_floating_point():
        given = given.to(like.dtype)
    was_training = bool(getattr(model, "training", False))
    if was_training:
        model.eval()
    try:
        with torch.inference_mode():
            answers = module(given)
    finally:
        if was_training:
            model.train()
    named = answers if isinstance(answers, Mapping) else {"prediction": answers}
    return {name: value.cpu().numpy() for name, value in named.items()}


def task(model: Any) -> Task:
    """Return the module's own attribute."""
    said = getattr(model, "task", None)
    return said if said in ("classification", "regression") else None


def classes(model: Any) -> list[Any] | None:
    """Return the module's own attribute."""
    said = getattr(model, "classes", None)
    return list(said) if isinstance(said, list | tuple) else None


def _arguments(model: Any) -> dict[str, Any]:
    kind = type(model)
    arguments = {}
    for parameter in list(inspect.signature(kind.__init__).parameters.values())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            if kind.__module__.startswith("torch."):
                raise FlavorError(f"a {kind.__name__} does not say what it is made of: {_EXPORT}")
            continue
        value = getattr(model, parameter.name, parameter.default)
        try:
            if value is parameter.empty:
                raise TypeError("there is none")
            json.dumps(value)
        except TypeError as error:
            raise FlavorError(
                f"{kind.__name__} takes '{parameter.name}', but keeps no number, text or list as its attribute "
                f"'{parameter.name}' ({error}): keep it (self.{parameter.name} = {parameter.name}), or {_EXPORT}"
            ) from error
        arguments[parameter.name] = value
    return arguments
