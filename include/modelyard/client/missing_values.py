"""Where the trees of scikit-learn send a missing value: their converter leaves it out, and lets each go to the right.

From scikit-learn 1.3 on a tree takes missing values, also one that was trained without: at each node they go where most
rows went (sklearn.tree: "missing values support"). skl2onnx knows that of histogram boosting alone.
"""

from __future__ import annotations

from typing import Any


def keep() -> None:
    """Have skl2onnx note it for decision trees and for forests of them; it stays so for this process."""
    from skl2onnx.common.tree_ensemble import add_tree_to_attribute_pairs as add
    from skl2onnx.operator_converters import decision_tree, random_forest

    def add_with_missing(attributes: dict[str, Any], is_classifier: bool, tree: Any, *args: Any, **kwargs: Any) -> None:
        tracks = attributes["nodes_missing_value_tracks_true"]
        before = len(tracks)
        add(attributes, is_classifier, tree, *args, **kwargs)
        if (left := getattr(tree, "missing_go_to_left", None)) is not None:
            tracks[before:] = [int(goes_left) for goes_left in left]

    for module in (decision_tree, random_forest):
        module.add_tree_to_attribute_pairs = add_with_missing
