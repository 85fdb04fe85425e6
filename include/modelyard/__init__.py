"""Modelyard: a machine-learning model from experiment to production on Apache Airflow.

Importing this package costs nothing: what a training script calls is loaded at its first use, and it is
standard library only, so that it runs in any project's environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelyard.client import log_data, log_model

__version__ = "0.1.0"
__all__ = ["__version__", "log_data", "log_model"]


def __getattr__(name: str) -> object:
    if name in {"log_data", "log_model"}:
        from modelyard import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
