"""``python -P -m modelyard.client.convert MODEL_DIR OUT_DIR CONVERTERS``: writes a model as ONNX, where it can be.

Runs in the project's own process, with the project's own packages: the converters in the folder CONVERTERS come behind
them on the path, so that nothing of ours is imported where the project has it. Writes

- ``OUT_DIR/FORM.onnx`` for each form of its numbers (``FORMS``) that the converters manage. Its metadata ``modelyard``
  is JSON: for each of the graph's inputs the columns of the signature that lie side by side in it. Of the graph's
  outputs the first are the signature's, in its order;
- ``OUT_DIR/result.json``: ``{"forms": [FORM, …], "why": "…"}``, why none, as the converters say it.

Whether a form answers as the model does is not for this process to say.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelyard.client import flavors, missing_values, onnx_graph
from modelyard.client.flavors import lightgbm as lightgbm_boosters
from modelyard.client.flavors import onnx as as_onnx
from modelyard.client.flavors import xgboost as xgboost_boosters
from modelyard.client.loaded import FACTS

JSON = dict[str, Any]

# What numbers come in as: fractions, and whole numbers. The first is what the model itself gets; not every operator
# has that, and a model that rounds its input to 32 bits by itself answers equally to the second.
FORMS = {"exact": ("FP64", "INT64"), "float64": ("FP64", "FP64"), "float32": ("FP32", "FP32")}
# That there are converters for, or that are ONNX already: a model of another one need not be tried.
FLAVORS = ("sklearn", "xgboost", "lightgbm", "onnx")
RESULT = "result.json"
METADATA = "modelyard"
# What a model is that is ONNX already: nothing about its numbers is ours to choose.
_AS_IT_IS = {"exact": FORMS["exact"]}
# The newest that the server's onnxruntime and every converter know.
_OPSETS = {"": 21, "ai.onnx.ml": 3}


class CannotConvertError(Exception):
    """There is no way from this kind of model to ONNX: a sentence."""


def convert(folder: Path, out: Path) -> JSON:
    """Write the forms of the model in ``folder``, and return what ``RESULT`` says."""
    facts = json.loads((folder / FACTS).read_bytes())
    flavor = facts["flavor"]
    model = folder / facts["files"]["model"] if flavor == "onnx" else flavors.named(flavor).load(folder, facts["files"])
    forms, why, trace = [], "", ""
    for form, numbers in (_AS_IT_IS if flavor == "onnx" else FORMS).items():
        try:
            onnx, columns = _converted(flavor, model, facts["signature"]["inputs"], *numbers)
            _label(onnx, columns)
        except CannotConvertError as error:
            return {"forms": [], "why": str(error)}
        except Exception as error:  # noqa: BLE001 - converters raise whatever they meet first
            if not why:
                why, trace = _first_line(error), traceback.format_exc()
            continue
        (out / f"{form}.onnx").write_bytes(onnx.SerializeToString(deterministic=True))
        forms.append(form)
    if not forms:
        print(trace, file=sys.stderr, flush=True)
    return {"forms": forms, "why": "" if forms else why}


def _converted(flavor: str, model: Any, entries: list[JSON], fraction: str, whole: str) -> tuple[Any, list[list[str]]]:
    """Return the model as ONNX, and for each of its inputs the columns that lie side by side in it."""
    if flavor == "onnx":
        return _read(model, [entry["name"] for entry in entries])
    inputs = _inputs(model, entries, fraction, whole)
    onnx = _from_estimator(flavor, model, [given[:2] for given in inputs])
    columns = onnx_graph.merge_inputs(onnx, [given[2] for given in inputs])
    if fraction == "FP64":
        onnx_graph.adapt(onnx.graph, strict=flavor == "sklearn")
    # Some converters declare another type than their operators have; onnxruntime knows without.
    for value in [*onnx.graph.output, *onnx.graph.value_info]:
        value.ClearField("type")
    return onnx, columns


def _read(file: Path, columns: list[str]) -> tuple[Any, list[list[str]]]:
    import onnx

    model = onnx.load(file)
    constants = {value.name for value in model.graph.initializer}
    names = [given.name for given in model.graph.input if given.name not in constants]
    return model, [[name] for name in names] if as_onnx.by_name(names, columns) else [columns]


def _label(onnx: Any, columns: list[list[str]]) -> None:
    kept = [one for one in onnx.metadata_props if one.key != METADATA]
    del onnx.metadata_props[:]
    onnx.metadata_props.extend(kept)
    onnx.metadata_props.add(key=METADATA, value=json.dumps(columns))


def _from_estimator(flavor: str, model: Any, types: list[tuple[str, Any]]) -> Any:
    from skl2onnx import convert_sklearn, update_registered_converter

    kinds = _kinds()
    if flavor == "lightgbm":
        kind, model = lightgbm_boosters.estimator(model)
        kinds.append((type(model), "lightgbm", "LGBM", kind))
    elif hasattr(model, "save_config"):  # a booster of XGBoost
        model = xgboost_boosters.estimator(model)
    _register(kinds, update_registered_converter)
    missing_values.keep()
    for part in _parts(model):
        if hasattr(part, "get_booster"):
            part.get_booster().feature_names = None  # its converter takes names of one pattern only, and needs none
    classifiers = [part for part in _parts(model) if hasattr(part, "predict_proba")]
    if flavor == "lightgbm" and hasattr(model, "classes_"):
        classifiers.append(model)
    options = {id(part): {"zipmap": False} for part in classifiers}
    return convert_sklearn(model, "model", types, options=options, target_opset=_OPSETS)


def _kinds() -> list[tuple[type, str, str, str]]:
    """Return the models that other libraries have, where the project has these: class, library, prefix and kind."""
    found = []
    for library, prefix in (("xgboost", "XGB"), ("lightgbm", "LGBM")):
        if (module := sys.modules.get(library)) is not None:  # the model is loaded by now, or has nothing of it
            found += [(getattr(module, prefix + kind), library, prefix, kind) for kind in ("Classifier", "Regressor")]
    return found


def _register(kinds: list[tuple[type, str, str, str]], add: Any) -> None:
    """Tell skl2onnx of these."""
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

    shapes = {
        "Classifier": calculate_linear_classifier_output_shapes,
        "Regressor": calculate_linear_regressor_output_shapes,
    }
    for model, library, prefix, kind in kinds:
        options = {"zipmap": [True, False, "columns"], "nocl": [True, False]} if kind == "Classifier" else None
        add(model, prefix + kind, shapes[kind], _converter(library), options=options)


def _converter(library: str) -> Any:
    if library == "xgboost":
        from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost

        return convert_xgboost
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm

    return convert_lightgbm


def _inputs(model: Any, entries: list[JSON], fraction: str, whole: str) -> list[tuple[str, Any, list[str]]]:
    """Return the graph's inputs as ``(name, type, columns)``: one table where the model asks for no column by name."""
    kinds = [_kind(entry, fraction, whole) for entry in entries]
    names = [entry["name"] for entry in entries]
    if len(entries) > 1 and not any(hasattr(part, "transformers") for part in _parts(model)):
        number = fraction if fraction in kinds else whole
        kinds = [number if kind in (fraction, whole) else kind for kind in kinds]
        if len(set(kinds)) == 1:
            return [("table", _type(kinds[0], [None, len(names)]), names)]
    shapes = [[None, *entry["shape"][1:]] if len(entry["shape"]) > 1 else [None, 1] for entry in entries]
    return [(name, _type(kind, shape), [name]) for name, kind, shape in zip(names, kinds, shapes, strict=True)]


def _kind(entry: JSON, fraction: str, whole: str) -> str:
    if "categories" in entry:
        raise CannotConvertError(f"column '{entry['name']}' is of pandas' type 'category', which ONNX does not have")
    datatype: str = entry["datatype"]
    if datatype.startswith("FP"):
        return fraction
    return whole if "INT" in datatype else datatype


def _type(kind: str, shape: list[int | None]) -> Any:
    from skl2onnx.common import data_types

    kinds = {
        "FP32": data_types.FloatTensorType,
        "FP64": data_types.DoubleTensorType,
        "INT64": data_types.Int64TensorType,
        "BOOL": data_types.BooleanTensorType,
        "BYTES": data_types.StringTensorType,
    }
    return kinds[kind]([None if size == -1 else size for size in shape])


def _parts(model: Any) -> Iterator[Any]:
    """Yield an estimator and all that it is made of."""
    yield model
    for _, part in getattr(model, "steps", ()):
        if part is not None and not isinstance(part, str):
            yield from _parts(part)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0] if lines else 'without a word'}"
    return text if len(text) <= 300 else f"{text[:299]}…"


def main() -> None:
    """Convert, as the arguments say."""
    parser = argparse.ArgumentParser(prog="modelyard.client.convert")
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("converters", type=Path)
    arguments = parser.parse_args()
    sys.path.append(str(arguments.converters))
    (arguments.out / RESULT).write_text(json.dumps(convert(arguments.model, arguments.out)))


if __name__ == "__main__":
    main()
