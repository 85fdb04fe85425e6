from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from modelyard.client import signature
from modelyard.client.signature import ExampleError


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([1], dtype="int16"), "INT16"),
        (np.array([1], dtype="uint8"), "UINT8"),
        (np.array([1.0], dtype="float32"), "FP32"),
        (np.array([1.0], dtype="float16"), "FP32"),
        (np.array([True]), "BOOL"),
        (np.array(["a"]), "BYTES"),
        (pd.Series(["a", None], dtype=object), "BYTES"),
        (pd.Series(["a", None]), "BYTES"),
        (pd.Series([1, None], dtype="Int32"), "INT32"),
        (pd.Series([True, None], dtype="boolean"), "BOOL"),
        (pd.Series(["x", "y"], dtype="category"), "BYTES"),
        (pd.Series([1, 2], dtype="category"), "INT64"),
        (pd.to_datetime(pd.Series(["2026-01-01"])), "BYTES"),
        ([1, 2.5], "FP64"),
        ([True, None], "BOOL"),
    ],
)
def test_every_type_has_its_name_in_the_protocol(values: object, expected: str):
    assert signature.datatype(values, "column 'x'") == expected


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([1, "a"], "column 'x' holds values of int, str"),
        ([None, None], "column 'x' holds no value"),
        ([object()], "values of object"),
    ],
)
def test_what_has_no_name_is_refused(values: object, says: str):
    with pytest.raises(ExampleError, match=says):
        signature.datatype(values, "column 'x'")


def test_a_column_may_be_missing_when_it_was_or_when_the_model_answers():
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.0], "c": [1.0, None], "d": ["x", "y"]})
    inputs = signature.of_columns({str(name): frame[name] for name in frame}, lambda name: name == "d")
    assert {entry["name"]: entry["nullable"] for entry in inputs} == {"a": False, "b": False, "c": True, "d": True}
    assert inputs[0] == {"name": "a", "datatype": "INT64", "shape": [-1], "nullable": False, "dtype": "int64"}


def test_categories_are_kept():
    frame = pd.DataFrame({"size": pd.Categorical(["s", "l"], categories=["s", "m", "l"], ordered=True)})
    (entry,) = signature.of_columns({"size": frame["size"]}, lambda _: False)
    assert (entry["dtype"], entry["categories"], entry["ordered"]) == ("category", ["s", "m", "l"], True)


def test_a_column_needs_a_name():
    with pytest.raises(ExampleError, match="no name in text"):
        signature.of_columns({0: [1]}, lambda _: False)  # type: ignore[dict-item]


def test_outputs_are_one_entry_a_row():
    outputs = signature.of_outputs({"prediction": np.array([1, 2]), "probability": np.ones((2, 3))}, 2)
    assert outputs == [
        {"name": "prediction", "datatype": "INT64", "shape": [-1]},
        {"name": "probability", "datatype": "FP64", "shape": [-1, 3]},
    ]
    with pytest.raises(ExampleError, match="for 3 rows"):
        signature.of_outputs({"prediction": [1, 2]}, 3)
