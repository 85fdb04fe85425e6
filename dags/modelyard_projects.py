"""One DAG a model project: see ``[modelyard] projects`` in airflow.cfg.example."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import conf, get_parsing_context

from model_store.pipeline import broken_dag, model_dag
from model_store.projects import BrokenProject, configured_folders, find

_folders = configured_folders(conf.get("modelyard", "projects", fallback=""), Path(__file__).parent)

for _project in find(_folders, wanted=get_parsing_context().dag_id):
    globals()[_project.name] = broken_dag(_project) if isinstance(_project, BrokenProject) else model_dag(_project)
