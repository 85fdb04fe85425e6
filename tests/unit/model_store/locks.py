"""Locked projects to build DAGs of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def lock(name: str = "wine", config: list[dict[str, Any]] | None = None, **project: Any) -> dict[str, Any]:
    """Return a model.lock.json; ``project`` changes what model.yaml says."""
    values = {
        "name": name,
        "description": "Which cultivar a wine comes from",
        "owner": {"name": "Data team", "url": "mailto:data@example.com"},
        "tags": ["demo"],
        "entry": "train.py",
        "schedule": None,
        "data": {"wine": {"uri": "data/wine.csv", "target": "kind", "role": "train"}},
        "deployment": {
            "environment": "production",
            "environments": {
                "production": {"target": "local", "protected": False, "approval": False},
                "staging": {"target": "local", "protected": False, "approval": False},
            },
        },
        "steps": {"train": {"resources": {"cpu": "1", "memory": None}}},
        "retries": 2,
    }
    config = [{"path": "model.C", "type": "number", "default": 1.0, "doc": "Strength"}] if config is None else config
    return {"format": 1, "project": values | project, "config": config, "source_hash": "x", "source": {"folder": "."}}


def asks_for_approval(protected: bool = False) -> dict[str, Any]:
    """Return a ``deployment`` of which production asks a person."""
    production = {"target": "local", "protected": protected, "approval": True}
    staging = {"target": "local", "protected": False, "approval": False}
    return {"environment": "production", "environments": {"production": production, "staging": staging}}


def write(folder: Path, content: dict[str, Any]) -> Path:
    """Write a lock into a project's folder and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.lock.json").write_text(json.dumps(content))
    return folder
