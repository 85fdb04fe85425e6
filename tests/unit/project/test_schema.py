from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import yaml

from modelyard.project.schema import SCHEMA_FILE, schema, with_reference

ROOT = Path(__file__).parents[3]
REMEDY = "python -m modelyard.project.schema include/examples/README.md"


def test_the_published_schema_is_what_the_classes_say() -> None:
    assert (files("modelyard") / SCHEMA_FILE).read_text() == schema(), REMEDY


def test_the_published_reference_is_what_the_classes_say() -> None:
    page = (ROOT / "include/examples/README.md").read_text()
    assert "| `validation.metrics.NAME.tolerance` |" in page
    assert page == with_reference(page), REMEDY


def test_every_key_is_documented() -> None:
    for section in [json.loads(schema()), *json.loads(schema())["$defs"].values()]:
        assert section["description"]
        for key, item in section["properties"].items():
            assert item.get("description") or "$ref" in item, key


@pytest.mark.parametrize("name", sorted(path.parent.name for path in (ROOT / "include/examples").glob("*/model.yaml")))
def test_editors_accept_the_examples(name: str) -> None:
    text = (ROOT / "include/examples" / name / "model.yaml").read_text()
    jsonschema.validate(yaml.safe_load(text), json.loads(schema()))


def test_editors_refuse_an_unknown_key() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "wine", "descripton": ""}, json.loads(schema()))
