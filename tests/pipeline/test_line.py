"""A project goes to a live answer; a candidate too; and what cannot go there is refused in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

from click.testing import CliRunner
from dulwich.objects import Commit
from dulwich.repo import Repo
from tests.cosign import key_pair
from tests.yard import Yard, ask

from modelyard.cli import main
from modelyard.images.layout import Layout
from modelyard.sources.remote import committed_at
from modelyard.supply_chain import SigningKey


def test_a_second_run_builds_the_same_image_and_replaces_the_first(yard: Yard, project: Callable[[str], Path]) -> None:
    wine = project("wine")
    assert yard.run(wine) == 0, yard.said
    with yard.open() as store:
        first = store.versions.get("wine", 1)
        live = store.deployments.live("wine", "production")
        golden = store.artifacts.read_json(first.file("modelyard.json").digest)["golden"]
        run = store.runs.get(first.run_id)
    assert live is not None
    assert live.address is not None
    assert (live.version, live.image_digest, run["status"]) == (1, first.image_digest, "COMPLETED")
    prediction, headers = ask(live.address, golden["inputs"][0])
    assert prediction["prediction"] == golden["outputs"]["prediction"][0]
    assert headers["modelyard-model-version"] == "1"
    assert headers["modelyard-run-id"] == str(first.run_id)
    assert headers["modelyard-image-digest"] == first.image_digest
    with Repo(str(wine)) as repository:
        assert first.committed_at == committed_at(cast("Commit", repository[repository.head()]))
    assert first.image_digest is not None
    image = Layout(yard.home / "images").pull("staging/wine", first.image_digest)
    assert json.loads(image.config)["created"] == first.committed_at.strftime("%Y-%m-%dT%H:%M:%SZ")

    assert yard.run(wine) == 0, yard.said
    with yard.open() as store:
        second = store.versions.get("wine", 2)
        alias = store.aliases.get("wine", "production")
        history = store.deployments.history("wine", "production")
    assert second.image_digest == first.image_digest
    assert alias is not None
    assert [move.to_version for move in alias.history] == [1, 2]
    assert [(one.version, one.state) for one in history] == [(2, "live"), (1, "replaced")]
    assert ask(live.address, golden["inputs"][0])[1]["modelyard-model-version"] == "2"

    variables = {**yard.address.to_environment(), "MODELYARD_HOME": str(yard.home)}
    again = CliRunner(env=variables).invoke(main, ["image", "rebuild", "wine:1", "--verify"])
    assert again.exit_code == 0, again.output
    assert "wine:1 is reproduced: built anew, it has the same digest." in again.output


def test_a_candidate_is_released_without_training_and_goes_live_once_it_is_signed(
    yard: Yard, project: Callable[[str], Path]
) -> None:
    wine = project("wine")
    assert yard.run(wine, release=False) == 0, yard.said
    assert "validate: skipped" in yard.said
    with yard.open() as store:
        assert store.versions.get("wine", 1).image_digest is None
        assert store.deployments.live("wine", "production") is None
    private, public = key_pair()
    yard.address = replace(yard.address, verification_key=public)
    assert yard.run(wine, version=1) == 65
    assert "does not go live: it has no signature" in yard.said
    with yard.open() as store:
        assert store.deployments.live("wine", "production") is None
    yard.signing = SigningKey(private)
    assert yard.run(wine, version=1) == 0, yard.said
    assert "train: skipped" in yard.said
    with yard.open() as store:
        live = store.deployments.live("wine", "production")
    assert live is not None
    assert live.version == 1


def test_an_unknown_key_is_refused_with_the_nearest_one(yard: Yard, project: Callable[[str], Path]) -> None:
    assert yard.run(project("wine"), config__test_sise=0.5) == 65
    assert "config.test_size" in yard.said


def test_a_failed_gate_shows_its_figures_and_deploys_nothing(yard: Yard, project: Callable[[str], Path]) -> None:
    assert yard.run(project("wine"), config__C=0.000001) == 65
    assert "≥ 0.9" in yard.said
    with yard.open() as store:
        assert store.deployments.live("wine", "production") is None
        assert store.versions.get("wine", 1).report is not None
