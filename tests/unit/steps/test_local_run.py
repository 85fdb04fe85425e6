from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import RequestError, Unavailable
from modelyard.steps.local_run import run_pipeline
from modelyard.store import StoreAddress

PROJECT: dict[str, Any] = {
    "project": {
        "name": "wine",
        "deployment": {
            "environment": "production",
            "environments": {
                "production": {"target": "local", "protected": False, "approval": True},
                "staging": {"target": "local", "protected": False, "approval": False},
            },
        },
    },
    "source": {"folder": "/projects/wine"},
}


def run(folder: Path, **params: Any) -> None:
    nobody = StoreAddress(
        mongo_uri="mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=100",
        artifacts=folder.as_uri(),
        registry=f"oci:{folder}",
    )
    run_pipeline(PROJECT, params, nobody, folder, lambda _step, line: pytest.fail(line))


def test_what_a_person_has_to_approve_is_not_released_where_nobody_is_asked(tmp_path: Path):
    for params in ({}, {"version": 3}, {"environment": "staging", "approve": True}):
        with pytest.raises(RequestError, match="only Airflow can ask") as caught:
            run(tmp_path, **params)
        assert caught.value.remedy is not None
        assert "release by the DAG 'wine' in Airflow" in caught.value.remedy
        assert "release=false" in caught.value.remedy


def test_what_nobody_has_to_approve_goes_on_to_the_store(tmp_path: Path):
    for params in ({"release": False}, {"environment": "staging"}):
        with pytest.raises(Unavailable):
            run(tmp_path, **params)
