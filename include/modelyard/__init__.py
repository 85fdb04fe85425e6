"""Modelyard: a machine-learning model from experiment to production on Apache Airflow.

Importing this package costs nothing: what a training script calls is loaded at its first use, and it is
standard library only, so that it runs in any project's environment.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelyard.client.data import log_data
    from modelyard.client.model import log_model

__version__ = "0.1.0"
__all__ = ["__version__", "log_data", "log_model"]

# A training script is recorded by importing this package: by the step that started it, or because the store's address
# is in the environment. Whoever does not run Sacred experiments does not notice.
if os.environ.get("MODELYARD_RELAY") or os.environ.get("MODELYARD_MONGO_URI"):
    from modelyard.client import attach

    attach.install()


def __getattr__(name: str) -> Any:
    if name == "log_model":
        from modelyard.client.model import log_model

        return log_model
    if name == "log_data":
        from modelyard.client.data import log_data

        return log_data
    raise AttributeError(f"module 'modelyard' has no attribute '{name}'")
