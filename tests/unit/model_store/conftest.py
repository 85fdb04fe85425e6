"""An AIRFLOW_HOME of the tests' own: Airflow reads its configuration, and writes one, when it is imported."""

from __future__ import annotations

import os
import tempfile

_home = tempfile.TemporaryDirectory(prefix="airflow-")  # gone with this process
os.environ["AIRFLOW_HOME"] = _home.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
