"""What Airflow is told about this package: the target of its ``apache_airflow_provider`` entry point."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's facts."""
    return {
        "package-name": "modelyard",
        "name": "Modelyard",
        "description": "Model store: versions, aliases and deployments of machine-learning models.",
    }
