from dataclasses import replace

import pytest

from modelyard.errors import NotFound
from modelyard.store import PipelineRun, Store, pipeline_run_id
from modelyard.store.codec import now

RUN = PipelineRun(
    id=pipeline_run_id("test", "wine", "manual__1"),
    installation="test",
    dag_id="wine",
    run_id="manual__1",
    model="wine",
    project={"git": "https://git.example/wine", "ref": "main", "subfolder": ""},
    params={"config.model.C": 0.5, "release": True},
    settings={},
    started_by="anna",
    clear_number=0,
    created_at=now(),
)


def test_a_run_is_written_down_once_and_only_its_clear_number_grows(store: Store):
    assert store.pipelines.open(RUN) == RUN
    again = replace(RUN, clear_number=2, params={}, created_at=now())
    assert store.pipelines.open(again) == replace(RUN, clear_number=2)
    assert store.pipelines.open(replace(RUN, clear_number=1)).clear_number == 2
    assert store.pipelines.get(RUN.id).params == RUN.params


def test_an_unknown_run_is_not_found(store: Store):
    with pytest.raises(NotFound, match="pipeline run"):
        store.pipelines.get("none")
