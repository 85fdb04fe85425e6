"""Take a model back to an earlier version; for all models of ``[modelyard] projects``."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import conf

from model_store.mode import configured_modes, execution
from model_store.pipeline import rollback_dag
from model_store.projects import LockedProject, configured_folders, find

_folders = configured_folders(conf.get("modelyard", "projects", fallback=""), Path(__file__).parent)
_projects = [project for project in find(_folders) if isinstance(project, LockedProject)]

if _projects:
    rollback = rollback_dag(_projects, configured_modes(), execution)
