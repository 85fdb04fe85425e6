from concurrent.futures import ThreadPoolExecutor
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
    assert store.pipelines.open(RUN) == replace(RUN, sequence=1)
    again = replace(RUN, clear_number=2, params={}, created_at=now())
    assert store.pipelines.open(again) == replace(RUN, clear_number=2, sequence=2)  # asked for now: the newest
    assert store.pipelines.open(replace(RUN, clear_number=1)).clear_number == 2
    assert store.pipelines.get(RUN.id).params == RUN.params


def test_each_run_of_a_model_has_its_place_in_their_order(store: Store):
    runs = [replace(RUN, id=str(i)) for i in range(4)] * 2
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(store.pipelines.open, runs))
    assert opened[:4] == opened[4:]
    assert len({run.sequence for run in opened}) == 4
    later = store.pipelines.open(replace(RUN, id="later"))
    assert later.sequence > max(run.sequence for run in opened)
    assert store.pipelines.open(replace(RUN, id="other", model="beer")).sequence == 1


def test_an_unknown_run_is_not_found(store: Store):
    with pytest.raises(NotFound, match="pipeline run"):
        store.pipelines.get("none")
