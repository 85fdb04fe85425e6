"""Delete what nothing in the model store refers to any more, every day once it is switched on."""

from __future__ import annotations

from model_store.collection import collection_dag
from model_store.mode import configured_modes, execution

garbage_collection = collection_dag(configured_modes()[execution()])
