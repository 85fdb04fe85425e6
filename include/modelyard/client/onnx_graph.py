"""Changes to an ONNX graph that a converter has made: the server's onnxruntime shall answer it right, and quickly."""

from __future__ import annotations

from typing import Any


def adapt(graph: Any, *, strict: bool) -> None:
    """Put what onnxruntime has no 64 bits for into what it has them for, or into the 32 that the model uses itself.

    The libraries with trees compare in 32 bits, as their thresholds are kept here: only numbers that have been rounded
    in the same way lie on the same side of them.

    Args:
        graph: changed in place.
        strict: trees refuse what is beyond 32 bits, as scikit-learn's do; those of others take it for infinite.
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
            if strict:
                node.input[0] = f"{rounded}_finite"
                nodes += _finite(graph, rounded, node.input[0])
        nodes.append(node)
    nodes = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)


def _finite(graph: Any, given: str, out: str) -> list[Any]:
    """Return nodes that hand on a table of 32 bits, or fail when a number in it is infinite.

    No operator is made for that: what fails is to take the second of a list that has one element, a zero.
    """
    from onnx import helper

    graph.initializer.append(helper.make_tensor(f"{out}_zero", 1, [1], [0.0]))
    return [
        helper.make_node("IsInf", [given], [f"{out}_not"]),
        helper.make_node("Cast", [f"{out}_not"], [f"{out}_place"], to=7),  # INT64
        helper.make_node("ReduceMax", [f"{out}_place"], [f"{out}_any"], keepdims=0),
        helper.make_node("Gather", [f"{out}_zero", f"{out}_any"], [f"{out}_nothing"], name="a number beyond 32 bits"),
        helper.make_node("Add", [given, f"{out}_nothing"], [out]),
    ]


def merge_inputs(onnx: Any, columns: list[list[str]]) -> list[list[str]]:
    """Put the graph's inputs of one type side by side in one, which it takes apart itself: each input costs time.

    Args:
        onnx: the model, changed in place.
        columns: for each of its inputs the columns of the signature that lie side by side in it.

    Returns:
        The same for the inputs that it has now.
    """
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
