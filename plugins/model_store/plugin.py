"""The plugin: the Models page in Airflow's navigation.

It imports the operators too: with ``[core] lazy_load_plugins = False`` the scheduler has them before it forks its
workers, and no task pays for their import.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from model_store.links import PAGES, airflow_root
from model_store.mode import DOCKER, KUBERNETES, executions
from model_store.run import versions_asset

# What each step's task uses: imported by it, these take longer than many a step.
for _module in ("modelyard.store.mongo", "modelyard.images.registry", "modelyard.project.model"):
    import_module(_module)
_OF_MODES = {
    DOCKER: ("model_store.docker", "modelyard.execution.docker"),
    KUBERNETES: ("model_store.kubernetes", "modelyard.execution.kubernetes", "modelyard.execution.secrets"),
}
for _mode in executions():
    for _module in _OF_MODES.get(_mode, ()):
        import_module(_module)

# An asset's first use in a process loads every provider's rules for addresses, which takes longer than all the rest.
versions_asset("any")


class ModelStorePlugin(AirflowPlugin):
    """Hook, operators, sensor and pages of the model store."""

    name = "model_store"
    external_views: ClassVar = [  # type: ignore[misc]  # Airflow reads it from the class
        {
            "name": "Models",
            "href": f"{airflow_root()}{PAGES}/models",
            "destination": "nav",
            "icon": f"{airflow_root()}{PAGES}/static/models.svg",
            "icon_dark_mode": f"{airflow_root()}{PAGES}/static/models-dark.svg",
            "nav_top_level": True,
            "url_route": "models",
        }
    ]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]  # Airflow asks an instance
        """The pages; made only where they are asked for, in the API server."""
        from model_store.pages.app import create_app

        return [{"app": create_app(), "url_prefix": PAGES, "name": "Models"}]
