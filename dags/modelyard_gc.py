"""Delete what nothing in the model store refers to any more, every day once it is switched on."""

from __future__ import annotations

# Airflow reads no file without its own name and the word "dag" in it: [core] dag_discovery_safe_mode.
from model_store.collection import collection_dag
from model_store.mode import configured_modes, execution

garbage_collection = collection_dag(configured_modes()[execution()])
