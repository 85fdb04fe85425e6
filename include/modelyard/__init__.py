"""Modelyard: a machine-learning model from experiment to production on Apache Airflow.

Importing this package costs nothing: what a training script calls is loaded at its first use, and it is
standard library only, so that it runs in any project's environment.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # as type checkers know it, without the import of typing
if TYPE_CHECKING:
    from modelyard.client.data import log_data
    from modelyard.client.model import log_model

__version__ = "0.1.0"
__all__ = ["__version__", "log_data", "log_model"]


def _store_is_configured() -> bool:
    if os.environ.get("MODELYARD_RELAY") or os.environ.get("MODELYARD_MONGO_URI"):
        return True
    home = os.environ.get("MODELYARD_HOME")
    return bool(home) and os.path.isdir(f"{home}/mongo")  # noqa: PTH112 - pathlib would be half of this import's time


# A training script is recorded by importing this package: by the step that started it, or because the environment says
# where the store is. Whoever does not run Sacred experiments does not notice.
if _store_is_configured():
    from modelyard.client import attach

    attach.install()


def __getattr__(name: str) -> object:
    if name == "log_model":
        from modelyard.client.model import log_model

        return log_model
    if name == "log_data":
        from modelyard.client.data import log_data

        return log_data
    raise AttributeError(f"module 'modelyard' has no attribute '{name}'")
