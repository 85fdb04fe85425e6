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
    # As `store.address.home_folder` has it; pathlib would be half of this import's time.
    home = os.path.expanduser(os.environ.get("MODELYARD_HOME") or "~/.modelyard")  # noqa: PTH111
    return os.path.isfile(f"{home}/mongo/server.json")  # noqa: PTH113


# A training script is recorded by importing this package: by the step that started it, or because there is a store: the
# environment names one, or one was made on this machine. Whoever does not run Sacred experiments does not notice.
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
