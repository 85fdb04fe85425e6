import pytest
import sacred
from sacred.observers import MongoObserver

from modelyard.errors import Conflict, NotFound
from modelyard.store import ArtifactFile, Store

FILE = ArtifactFile("model.joblib", f"sha256:{'0' * 64}", 10)


@pytest.fixture
def experiment(store: Store) -> sacred.Experiment:
    """A real Sacred experiment, its observer on the store's own client; its main looks at the store as it runs."""
    experiment = sacred.Experiment("wine", save_git_info=False)
    experiment.observers.append(MongoObserver(client=store.mongo, db_name=store.address.database))

    def main(_run: sacred.run.Run) -> float:
        for step in range(3):
            _run.log_scalar("val.loss", 1 / (step + 1), step)
        with pytest.raises(Conflict, match="RUNNING"):
            store.runs.reference_artifacts(_run._id, {"model": FILE})
        assert store.runs.unfinished("a" * 64) == [_run._id]
        return 0.5

    experiment.main(main)
    return experiment


def test_a_finished_run_is_read_and_references_its_artifacts(store: Store, experiment: sacred.Experiment):
    run = experiment.run(meta_info={"modelyard": {"pipeline_run": "a" * 64}}, options={"--loglevel": "ERROR"})
    document = store.runs.get(run._id)
    assert (document["status"], document["result"]) == ("COMPLETED", 0.5)
    metrics = store.runs.metrics(run._id)
    assert metrics["val.loss"]["values"] == [1.0, 0.5, 1 / 3]
    assert metrics["val.loss"]["steps"] == [0, 1, 2]
    assert store.runs.unfinished("a" * 64) == []
    for _ in range(2):
        store.runs.reference_artifacts(run._id, {"model": FILE})
    info = store.runs.get(run._id)["info"]
    assert info["modelyard"]["artifacts"] == [{"name": "model", "path": FILE.path, "digest": FILE.digest, "size": 10}]
    assert info["metrics"] == document["info"]["metrics"]
    assert not store.runs.interrupt(run._id, "late")
    assert store.runs.get(run._id)["status"] == "COMPLETED"


def test_an_abandoned_run_is_marked_with_the_reason(store: Store):
    runs = store.mongo[store.address.database]["runs"]
    runs.insert_one({"_id": 1, "status": "RUNNING", "info": {"a": 1}, "meta": {"modelyard": {"pipeline_run": "p"}}})
    runs.insert_one({"_id": 2, "status": "RUNNING", "info": {}, "meta": {}})
    assert store.runs.unfinished("p") == [1]
    assert store.runs.interrupt(1, "its process was killed")
    document = store.runs.get(1)
    assert document["status"] == "INTERRUPTED"
    assert document["stop_time"] is not None
    assert document["info"] == {"a": 1, "modelyard": {"interrupted": "its process was killed"}}
    assert store.runs.unfinished("p") == []
    assert store.runs.get(2)["status"] == "RUNNING"


def test_an_unknown_run_is_not_found(store: Store):
    for call in (
        lambda: store.runs.get(9),
        lambda: store.runs.interrupt(9, ""),
        lambda: store.runs.reference_artifacts(9, {}),
    ):
        with pytest.raises(NotFound, match="run 9"):
            call()
    assert store.runs.metrics(9) == {}
