"""What model.yaml may hold, for editors (JSON Schema) and for readers (a table); both made from the same classes.

``python -m modelyard.project.schema README`` writes model.schema.json anew, and the table in a page between its marks.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from modelyard.project.model import Project

SCHEMA_FILE = "model.schema.json"
_MARKS = re.compile(r"(<!-- reference -->\n).*?(<!-- /reference -->)", re.DOTALL)


def schema() -> str:
    """Return the JSON Schema of model.yaml as text."""
    made = Project.model_json_schema()
    made = {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "model.yaml of Modelyard"}
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def reference() -> str:
    """Return a Markdown table of every key of model.yaml: what it means, what it is when it is left out."""
    made = Project.model_json_schema()
    rows = "".join(f"| `{key}` | {meaning} | {default} |\n" for key, meaning, default in _rows(made, made, ""))
    return f"| key | meaning | when left out |\n|---|---|---|\n{rows}"


def with_reference(page: str) -> str:
    """Return a page with the table between its marks made anew."""
    return _MARKS.sub(lambda marks: f"{marks[1]}{reference()}{marks[2]}", page)


def _rows(section: dict[str, Any], whole: dict[str, Any], prefix: str) -> Iterator[tuple[str, str, str]]:
    required = section.get("required", [])
    for key, item in section["properties"].items():
        name = f"{prefix}{key}"
        nested = list(_sections(item, whole))
        default = f"`{json.dumps(item['default'])}`" if "default" in item and not nested else ""
        meaning = item.get("description") or (nested[0][1].get("description", "") if nested else "")
        yield name, meaning.replace("|", "\\|"), "*needed*" if key in required else default
        for path, described in nested:
            yield from _rows(described, whole, f"{name}{path}.")


def _sections(item: dict[str, Any], whole: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the mappings that a key may hold, with the path in between: ``.NAME`` where its own keys are names."""
    if "$ref" in item:
        yield "", whole["$defs"][item["$ref"].rsplit("/", 1)[1]]
    for option in (*item.get("anyOf", ()), *item.get("oneOf", ())):
        yield from _sections(option, whole)
    names = [item.get("additionalProperties"), *item.get("patternProperties", {}).values()]
    for value in names:
        if isinstance(value, dict):
            yield from ((f".NAME{path}", section) for path, section in _sections(value, whole))


if __name__ == "__main__":
    Path(str(files("modelyard") / SCHEMA_FILE)).write_text(schema(), encoding="utf-8")
    for page in map(Path, sys.argv[1:]):
        page.write_text(with_reference(page.read_text(encoding="utf-8")), encoding="utf-8")
