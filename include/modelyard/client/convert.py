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

from modelyard.client import flavors
from modelyard.client.loaded import FACTS

JSON = dict[str, Any]

# What numbers come in as: fractions, and whole numbers. The first is what the model itself gets; not every operator
# has that, and a model that rounds its input to 32 bits by itself answers equally to the second.
FORMS = {"exact": ("FP64", "INT64"), "float64": ("FP64", "FP64"), "float32": ("FP32", "FP32")}
FLAVORS = ("sklearn",)  # that there are converters for: a model of another one need not be tried
RESULT = "result.json"
METADATA = "modelyard"
# The newest that the server's onnxruntime and every converter know.
_OPSETS = {"": 21, "ai.onnx.ml": 3}


class CannotConvertError(Exception):
    """There is no way from this kind of model to ONNX: a sentence."""


def convert(folder: Path, out: Path) -> JSON:
    """Write the forms of the model in ``folder``, and return what ``RESULT`` says."""
    facts = json.loads((folder / FACTS).read_bytes())
    model = flavors.named(facts["flavor"]).load(folder, facts["files"])
    forms, why, trace = [], "", ""
    for form, numbers in FORMS.items():
        try:
            onnx = _converted(model, facts["signature"], *numbers)
        except CannotConvertError as error:
            return {"forms": [], "why": str(error)}
        except Exception as error:  # noqa: BLE001 - converters raise whatever they meet first
            if not why:
                why, trace = _first_line(error), traceback.format_exc()
            continue
        (out / f"{form}.onnx").write_bytes(onnx)
        forms.append(form)
    if not forms:
        print(trace, file=sys.stderr, flush=True)
    return {"forms": forms, "why": "" if forms else why}


def _converted(model: Any, signature: JSON, fraction: str, whole: str) -> bytes:
    from skl2onnx import convert_sklearn, update_registered_converter

    _register(update_registered_converter)
    for part in _parts(model):
        if hasattr(part, "get_booster"):
            part.get_booster().feature_names = None  # its converter takes names of one pattern only, and needs none
    inputs = _inputs(model, signature["inputs"], fraction, whole)
    options = {id(part): {"zipmap": False} for part in _parts(model) if hasattr(part, "predict_proba")}
    onnx = convert_sklearn(model, "model", [given[:2] for given in inputs], options=options, target_opset=_OPSETS)
    merged = _merged(onnx, [columns for _, _, columns in inputs])
    if fraction == "FP64":
        _adapt(onnx.graph)
    # Some converters declare another type than their operators have; onnxruntime knows without.
    for value in [*onnx.graph.output, *onnx.graph.value_info]:
        value.ClearField("type")
    onnx.metadata_props.add(key=METADATA, value=json.dumps(merged))
    serialized: bytes = onnx.SerializeToString(deterministic=True)
    return serialized


def _register(add: Any) -> None:
    """Tell skl2onnx of the models that other libraries have, where the project has these."""
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

    shapes = {
        "Classifier": calculate_linear_classifier_output_shapes,
        "Regressor": calculate_linear_regressor_output_shapes,
    }
    for library, prefix in (("xgboost", "XGB"), ("lightgbm", "LGBM")):
        module = sys.modules.get(library)
        if module is None:
            continue  # the model is loaded by now, and has nothing of it
        converter = _converter(library)
        for kind, shape in shapes.items():
            options = {"zipmap": [True, False, "columns"], "nocl": [True, False]} if kind == "Classifier" else None
            add(getattr(module, prefix + kind), prefix + kind, shape, converter, options=options)


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


def _adapt(graph: Any) -> None:
    """Put what onnxruntime has no 64 bits for into what it has them for, or into the 32 that the model uses itself.

    The libraries with trees compare in 32 bits, as their thresholds are kept here: only numbers that have been rounded
    in the same way lie on the same side of them.
    """
    import math

    from onnx import helper

    whole = {given.name for given in graph.input if given.type.tensor_type.elem_type == 7}  # INT64
    nodes = []
    for number, node in enumerate(graph.node):
        values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        mask, rounded, fill = (f"modelyard_{what}_{number}" for what in ("missing", "rounded", "fill"))
        if node.op_type == "Imputer" and math.isnan(values.get("replaced_value_float", 0.0)):
            floats = values["imputed_value_floats"]
            graph.initializer.append(helper.make_tensor(fill, 11, [len(floats)], floats))  # 11 is FP64
            nodes.append(helper.make_node("IsNaN", [node.input[0]], [mask]))
            nodes.append(helper.make_node("Where", [mask, fill, node.input[0]], [node.output[0]]))
            continue
        if node.op_type.startswith("TreeEnsemble") and node.input[0] not in whole:
            nodes.append(helper.make_node("Cast", [node.input[0]], [rounded], to=1))  # FP32
            node.input[0] = rounded
        nodes.append(node)
    nodes = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)


def _merged(onnx: Any, columns: list[list[str]]) -> list[list[str]]:
    """Put the graph's inputs of one type side by side in one, which it takes apart itself: each input costs time."""
    from onnx import helper

    graph = onnx.graph
    groups: dict[int, list[int]] = {}
    for number, given in enumerate(graph.input):
        groups.setdefault(given.type.tensor_type.elem_type, []).append(number)
    if len(groups) == len(graph.input):
        return columns
    inputs, merged, splits = [], [], []
    for kind, members in groups.items():
        names = [graph.input[number].name for number in members]
        if len(names) == 1:
            inputs.append(graph.input[members[0]])
        else:
            table = f"modelyard_{kind}"
            inputs.append(helper.make_tensor_value_info(table, kind, [None, len(names)]))
            for place, name in enumerate(names):
                index = helper.make_tensor(f"{table}_{place}", 7, [1], [place])  # 7 is INT64
                graph.initializer.append(index)
                splits.append(helper.make_node("Gather", [table, index.name], [name], axis=1))
        merged.append([name for number in members for name in columns[number]])
    nodes = [*splits, *graph.node]
    del graph.input[:], graph.node[:]
    graph.input.extend(inputs)
    graph.node.extend(nodes)
    return merged


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
