"""The doctor beside a real Airflow: settings from its file, connections from its database, processes from its API."""

from __future__ import annotations

import os
import subprocess
import sys
from urllib.parse import urlsplit

from modelyard.demo.machine import Machine


def test_an_airflow_that_runs_is_in_order(machine: Machine) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "AIRFLOW_HOME": str(machine.home / "airflow"),
        "MODELYARD_HOME": str(machine.home),
    }
    command = [sys.executable, "-m", "modelyard", "doctor"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    found = {line[9:37].strip(): line[:9].strip() for line in result.stdout.splitlines()[:-1]}
    assert found == {
        "Modelyard": "ok",
        "Airflow": "ok",
        "Airflow's processes": "ok",
        "MongoDB": "ok",
        "Artifacts": "ok",
        "Registry": "ok",
        "Kubernetes": "skipped",
    }
    assert "scheduler, DAG processor and triggerer live" in result.stdout
    password = str(urlsplit(machine.store.mongo_uri).password)
    assert password not in result.stdout + result.stderr
