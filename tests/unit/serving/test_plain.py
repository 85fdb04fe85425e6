from __future__ import annotations

import json
from typing import Any

import pytest

from modelyard.serving.contracts import plain
from modelyard.serving.messages import Call
from modelyard.serving.model import Model
from modelyard.serving.signature import Signature


def model(*outputs: str) -> Model:
    fields = [{"name": name, "datatype": "FP64", "shape": [-1]} for name in outputs]
    signature = Signature.from_json({"kind": "columns", "inputs": [], "outputs": fields})
    return Model("m", "3", "1", "", {}, signature, {})


@pytest.mark.parametrize("name", ["label", "größe", "value1", 'a"b', "a\\b", "a\nb", "class", ""])
def test_a_prediction_is_an_object_whatever_its_outputs_are_called(name: str) -> None:
    outputs: dict[str, list[Any]] = {name: [1.5, None], "other": [["a", 1], "b"]}
    answer = json.loads(plain.contract(model(name, "other")).render(Call({}, 2), outputs).body)
    assert answer == {
        "predictions": [{name: 1.5, "other": ["a", 1]}, {name: None, "other": "b"}],
        "model_version": "3",
    }


def test_outputs_that_the_signature_does_not_have_are_answered_all_the_same() -> None:
    answer = json.loads(plain.contract(model("label")).render(Call({}, 1), {"other": [1]}).body)
    assert answer["predictions"] == [{"other": 1}]
