from __future__ import annotations

from pathlib import Path

import pymongo
import pytest
from click.testing import CliRunner
from pymongo.errors import PyMongoError
from tests.released_models import release, version

from modelyard import embedded
from modelyard.cli import main
from modelyard.store import Store, StoreAddress


def test_versions(store: Store, store_address: StoreAddress) -> None:
    runner = CliRunner(env={**store_address.to_environment(), "COLUMNS": "200"})
    assert "There are no versions of wine yet." in runner.invoke(main, ["versions", "wine"]).output
    release(store, version(store, run_id=1, metrics={"accuracy": 0.97531}))
    version(store, run_id=2, commit=None)
    version(store, "beer", run_id=3)

    lines = runner.invoke(main, ["versions", "wine"]).output.splitlines()
    assert lines[0].split() == ["version", "aliases", "metrics", "commit", "by", "created", "(UTC)"]
    assert lines[1].startswith("wine:2")
    assert "uncommitted" in lines[1]
    assert lines[2].startswith("wine:1   production")
    assert "accuracy 0.9753" in lines[2]
    assert len(lines) == 3

    shown = runner.invoke(main, ["versions", "--limit", "1"]).output
    assert "beer:1" in shown
    assert "There are more: --limit 2" in shown
    for wrong in ("0", "-1", "9" * 20):
        refused = runner.invoke(main, ["versions", "--limit", wrong])
        assert (refused.exit_code, "is not in the range" in refused.output) == (2, True)


def test_a_store_that_is_away_is_one_sentence() -> None:
    environment = {
        "MODELYARD_MONGO_URI": "mongodb://me:hunter2@127.0.0.1:9/?serverSelectionTimeoutMS=100",
        "MODELYARD_ARTIFACTS": "file:///nowhere",
        "MODELYARD_REGISTRY": "oci:/nowhere",
    }
    result = CliRunner(env=environment).invoke(main, ["versions"])
    assert result.exit_code == 75
    assert "127.0.0.1:9" in result.output
    assert "hunter2" not in result.output
    assert "Traceback" not in result.output


def test_the_embedded_store_runs_again_for_a_command_and_stop_ends_it(tmp_path: Path) -> None:
    runner = CliRunner(env={"MODELYARD_HOME": str(tmp_path)})
    none = runner.invoke(main, ["versions"])
    assert none.exit_code == 65
    assert f"none is kept in {tmp_path}" in none.output
    assert not (tmp_path / "mongo").exists()

    uri = embedded.start(tmp_path / "mongo")
    embedded.stop(tmp_path / "mongo")
    assert runner.invoke(main, ["versions"]).output == "There are no versions yet.\n"
    result = runner.invoke(main, ["stop"])
    assert result.output == "The embedded store is stopped; what it holds is kept.\n"
    with (
        pymongo.MongoClient[dict[str, object]](uri, serverSelectionTimeoutMS=200) as client,
        pytest.raises(PyMongoError),
    ):
        client.admin.command("ping")
    again = runner.invoke(main, ["stop"])
    assert (again.exit_code, again.output) == (0, "Nothing of `modelyard run` was running here.\n")
