"""The plugin: the Models page in Airflow's navigation.

It imports the operators too: with ``[core] lazy_load_plugins = False`` the scheduler has them before it forks its
workers, and no task pays for their import.
"""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

import model_store.operators
import model_store.pipeline  # noqa: F401
from model_store.links import PAGES, airflow_root


class ModelStorePlugin(AirflowPlugin):
    """Hook, operators, sensor and pages of the model store."""

    name = "model_store"
    external_views: ClassVar = [
        {
            "name": "Models",
            "href": f"{airflow_root()}{PAGES}/models",
            "destination": "nav",
            "category": "browse",
            "url_route": "models",
        }
    ]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:
        """The pages; made only where they are asked for, in the API server."""
        from model_store.pages.app import create_app

        return [{"app": create_app(), "url_prefix": PAGES, "name": "Models"}]
