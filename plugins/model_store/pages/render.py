"""Templates to pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse

from model_store.links import airflow_root
from model_store.pages import format as formats

_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters |= {
    "number": formats.number,
    "plain": formats.plain,
    "size": formats.size,
    "moment": formats.moment,
}
_templates.globals |= {"duration": formats.duration, "chart": formats.chart}


def render(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page. Its template finds our own root as ``root``, Airflow's as ``airflow``."""
    root = request.scope.get("root_path", "").rstrip("/")
    page = _templates.get_template(template).render(root=root, airflow=airflow_root(), **values)
    return HTMLResponse(page, status_code=status)
