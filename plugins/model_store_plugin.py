"""What Airflow's plugin manager reads: it imports the package, so that each of its modules exists once."""

from model_store.plugin import ModelStorePlugin

__all__ = ["ModelStorePlugin"]
