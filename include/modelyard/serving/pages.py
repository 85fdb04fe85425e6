"""What people see in a browser: the model's facts with a form that predicts, and the routes with examples that work."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from itertools import groupby
from string import Template
from urllib.parse import quote

import msgspec

from modelyard.serving.messages import JSON
from modelyard.serving.model import Model
from modelyard.serving.signature import Field

_ADDRESS = "http://localhost:8080"  # until the page's script puts in where it was asked


def facts(model: Model) -> bytes:
    """Return ``/``: what answers here, its inputs with a golden row filled in, and a button."""
    description = model.description
    rows = {
        "Version": model.version,
        "Sacred run": model.run_id,
        "Image": model.image_digest,
        "Flavor": str(description.get("flavor", "")),
        "Task": str(description.get("task") or "not stated"),
        "Classes": ", ".join(map(str, description.get("classes") or [])) or "none",
        "Python": str(description.get("python", "")),
    }
    return _page(
        "page.html",
        name=model.name,
        facts="".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows.items()),
        inputs="".join(_row(field) for field in model.signature.inputs),
        outputs="".join(_row(field) for field in model.signature.outputs),
        example=escape(msgspec.json.format(msgspec.json.encode({"rows": model.example()})).decode()),
    )


def docs(model: Model, document: JSON) -> bytes:
    """Return ``/docs``: every route of the OpenAPI document, with a request that is answered when pasted into a shell.

    Routes that are answered alike share it.
    """
    parts = []
    for operations, same in groupby(document["paths"].items(), lambda item: item[1]):
        path, *others = (path for path, _ in same)
        for method, operation in operations.items():
            heads = "<br>".join(f"<code>{method.upper()} {escape(each)}</code>" for each in (path, *others))
            parts.append(f"<h2>{heads}</h2><p>{escape(operation['summary'])}</p>")
            if "requestBody" in operation:
                example = operation["requestBody"]["content"]["application/json"]["example"]
                body = msgspec.json.format(msgspec.json.encode(example)).decode().replace("'", r"'\''")
                command = f"curl {_ADDRESS}{quote(path, safe='/:')} -d '{body}'"  # JSON is taken under curl's own type
                parts.append(f"<pre>{escape(command)}</pre>")
    return _page("docs.html", name=model.name, routes="".join(parts))


def _row(field: Field) -> str:
    shape = "×".join("any" if size < 0 else str(size) for size in field.shape)
    kind = field.datatype + (f" [{shape}]" if shape else "") + (" or null" if field.nullable else "")
    categories = f": {', '.join(map(str, field.categories))}" if field.categories else ""
    return f"<tr><td>{escape(field.name)}</td><td>{escape(kind + categories)}</td></tr>"


def _page(template: str, **values: str) -> bytes:
    values["name"] = escape(values["name"])
    return Template((files(__package__) / template).read_text("utf-8")).substitute(values).encode()
