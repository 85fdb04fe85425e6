"""Plain `python train.py` in the project's own environment makes candidates, which the pipeline releases or refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.laptop import Laptop
from tests.pipeline.tiny import PROTECTED, assert_nothing_live, assert_serves
from tests.yard import Yard, change

from model_store.pages.compare import sections
from modelyard.cli import main


@pytest.fixture
def laptop(yard: Yard, tiny: Path, tmp_path: Path) -> Laptop:
    change(yard, tiny, "model.yaml", lambda text: text + PROTECTED)
    return Laptop.made(yard.address, tiny, "Pipfile.lock", tmp_path)


def test_candidates_of_a_laptop_and_of_a_run_are_found_compared_and_released(yard: Yard, laptop: Laptop) -> None:
    assert laptop.train("threshold=0.4", "seed=1") == "modelyard: recorded as run 1, candidate tiny:1"
    assert yard.run(laptop.project, release=False, config__threshold=0.6) == 0, yard.said
    assert_nothing_live(yard)

    with yard.open() as store:
        newest_first = store.versions.find(name="tiny").versions
        found = store.versions.find(name="tiny", parameter={"threshold": 0.4}).versions
    assert [version.version for version in newest_first] == [2, 1]
    assert [(version.version, version.pipeline_run) for version in found] == [(1, None)]
    compared = sections([*reversed(newest_first)])
    assert [(row.name, row.cells) for row in compared["Configuration"] if row.differs] == [
        ("threshold", ("0.4", "0.6"))
    ]
    assert {row.name for row in compared["Code"] if row.differs} == {"created"}
    assert {"loss"} == {row.name for row in compared["Metrics"]}
    listed = CliRunner(env={**yard.address.to_environment(), "COLUMNS": "200"}).invoke(main, ["versions", "tiny"])
    assert [line.split()[0] for line in listed.output.splitlines()[1:]] == ["tiny:2", "tiny:1"]

    for version in (1, 2):
        assert yard.run(laptop.project, version=version) == 0, yard.said
        assert "train: skipped" in yard.said
        assert_serves(yard, version)
    with yard.open() as store:
        assert store.mongo[yard.address.database]["runs"].count_documents({}) == 2


def test_what_is_not_as_committed_and_locked_is_refused_with_the_difference(yard: Yard, laptop: Laptop) -> None:
    predict = laptop.project / "predict.py"
    clean = predict.read_text()
    predict.write_text(clean + "# not committed\n")
    assert laptop.train().endswith("candidate tiny:1")
    predict.write_text(clean)
    laptop.install("wrapt==1.17.2")
    assert laptop.train().endswith("candidate tiny:2")

    assert yard.run(laptop.project, version=1) == 65
    assert "tiny:1 cannot be released to 'production', which is protected" in yard.said
    assert "+# not committed" in yard.said
    assert "not as locked" not in yard.said
    assert yard.run(laptop.project, version=2) == 65
    assert "Its packages are not as locked: wrapt 1.17.2 is installed, the lock says 1.17.3." in yard.said
    assert "uncommitted" not in yard.said
    assert_nothing_live(yard)
