"""One DAG a model project: see ``[modelyard] projects`` in airflow.cfg.example."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import conf, get_parsing_context

from model_store.mode import configured_modes, execution
from model_store.pipeline import project_dag
from model_store.projects import configured_folders, find

_folders = configured_folders(conf.get("modelyard", "projects", fallback=""), Path(__file__).parent)
_modes = configured_modes()

for _project in find(_folders, wanted=get_parsing_context().dag_id):
    globals()[_project.name] = project_dag(_project, _modes[execution(_project.name)])
