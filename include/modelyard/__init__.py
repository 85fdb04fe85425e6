"""Modelyard: a machine-learning model from experiment to production on Apache Airflow.

Importing this package costs nothing: what a training script calls is loaded at its first use, and it is
standard library only, so that it runs in any project's environment.
"""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["__version__"]
