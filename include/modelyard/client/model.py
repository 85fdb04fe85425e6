"""``log_model``: keeps a trained model with all it takes to serve it and to prove that it answers as it did here."""

from __future__ import annotations

import json
import math
import platform
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from modelyard.client import flavors, inputs, packages, profile, signature
from modelyard.client.loaded import FACTS, LoadedModel
from modelyard.client.observer import relay_of
from modelyard.client.plain import cells

JSON = dict[str, Any]

# The same model, the same rows: only the order in which threads add up may differ. By the output's type.
_TOLERANCES = {"FP32": 1e-6}
_TOLERANCE = 1e-9


def log_model(_run: Any, model: Any, example: Any, *, flavor: str | None = None, training: Any = None) -> None:
    """Save the model of this run.

    It is written in its library's own format, with its signature and with *golden predictions*: the example's rows and
    what the model answers to them now. Every later check and the service itself are held to these.

    Args:
        _run: Sacred's run, an argument of every captured function.
        model: an estimator or pipeline of scikit-learn; a booster or estimator of XGBoost or LightGBM; a module or an
            exported program of PyTorch; a model of Keras; a model of ONNX, or the path of its file; an MLflow
            PythonModel; the path of an MLflow model's folder or of a TensorFlow SavedModel; or, for
            ``flavor="python"``, the path of any folder.
        example: a few rows as the model takes them, e.g. ``X[:5]``: a pandas frame, a NumPy array or a list of dicts.
        flavor: how it is saved and loaded; found by the model's type when not given.
        training: the rows the model learned from, of the example's kind. How they are spread is kept (a few bins a
            feature, not the rows), and the service counts its inputs in the same bins: drift can be seen.

    Raises:
        FlavorError, ExampleError: the model can't be saved, or the example doesn't describe what it takes.
        RelayError: the recording process can't keep it.
    """
    folder = Path(tempfile.mkdtemp(prefix="modelyard-model-"))
    try:
        write_model(folder, model, example, flavor=flavor, training=training)
        relay = relay_of(_run)
        if relay is None:
            kept = _keep_locally(folder, _run)
            print(f"modelyard: no store is configured, so the model is only kept in {kept}", file=sys.stderr)
            return
        files = []
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            stored = relay.put(path)
            files.append({"path": path.relative_to(folder).as_posix(), "digest": stored.digest, "size": stored.size})
        relay.request("model", files=files)
    finally:
        shutil.rmtree(folder)


def write_model(folder: Path, model: Any, example: Any, *, flavor: str | None = None, training: Any = None) -> None:
    """Write a model directory: the flavor's files and ``modelyard.json``; see ``log_model``."""
    flavor_name = flavor or flavors.name_of(model)
    chosen = flavors.named(flavor_name)
    files = chosen.save(model, folder)
    described = _signature(chosen, model, example)
    request = inputs.travelling(example)
    # The example itself, not its copy that has travelled: these are the answers of the model as it was trained.
    rows = inputs.array_of(example) if described["kind"] == "tensor" else example
    outputs = chosen.predict(model, rows)
    described["outputs"] = signature.of_outputs(outputs, len(example))
    golden: JSON = {"inputs": inputs.rows_of(request), "outputs": {n: cells(v) for n, v in outputs.items()}}
    facts = {
        "format": 1,
        "flavor": flavor_name,
        "files": files,
        "task": chosen.task(model),
        "classes": chosen.classes(model),
        "python": platform.python_version(),
        "packages": packages.installed(),
        "signature": described,
        "golden": golden,
        "profile": profile.of(training, example, described),
    }
    try:
        text = json.dumps(facts, indent=1, allow_nan=False)
    except ValueError as error:
        raise signature.ExampleError("the example, or the model's answer to it, holds an infinite number") from error
    (folder / FACTS).write_text(text + "\n", encoding="utf-8")
    _prove(folder, request, described["outputs"], golden["outputs"])


def _signature(flavor: flavors.Flavor, model: Any, example: Any) -> JSON:
    container = inputs.container(example)
    if container == "array":
        return {"kind": "tensor", "inputs": signature.of_tensor(inputs.array_of(example))}
    columns = inputs.columns_of(example)
    described: JSON = {"kind": "columns", "container": container}
    described["inputs"] = signature.of_columns(columns, lambda _: False)
    loaded = LoadedModel(model, flavor, described)
    request = inputs.travelling(example[:1])

    def answers(name: str) -> bool:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                loaded.answer({"columns": {**request["columns"], name: [None]}})
            except Exception:  # noqa: BLE001 - whatever a model raises, it does not answer
                return False
        return True

    described["inputs"] = signature.of_columns(columns, answers)
    return described


def _prove(folder: Path, request: JSON, outputs: list[JSON], expected: JSON) -> None:
    """Load what was saved and ask it as the service will: a model that answers otherwise is refused now, not later."""
    found = LoadedModel.load(folder).answer(request)
    for output in outputs:
        name, values = output["name"], expected[output["name"]]
        if not _same(values, found.get(name), _TOLERANCES.get(output["datatype"], _TOLERANCE)):
            raise signature.ExampleError(
                f"the model answers otherwise once it is saved, loaded, and asked in JSON: '{name}' was {values}, "
                f"is {found.get(name)}: give an example of the very kind the model was trained on"
            )


def _same(expected: Any, found: Any, tolerance: float) -> bool:
    if isinstance(expected, list) and isinstance(found, list):
        pairs = zip(expected, found, strict=False)
        return len(expected) == len(found) and all(_same(one, other, tolerance) for one, other in pairs)
    if isinstance(expected, float) and isinstance(found, int | float):
        return math.isclose(expected, found, rel_tol=tolerance, abs_tol=tolerance)
    return bool(expected == found)


def _keep_locally(folder: Path, run: Any) -> Path:
    started = run.start_time.strftime("%Y%m%d-%H%M%S")
    kept = Path.cwd() / ".modelyard" / "models" / f"{run.experiment_info['name']}-{started}"
    shutil.copytree(folder, kept, dirs_exist_ok=True)
    return kept
