"""`modelyard predictions`: what a person sees of the log."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner, Result
from tests.conftest import S3

from modelyard.cli import main
from modelyard.deployment.kubernetes.side_car import secret_name

from .conftest import Place, Serve, Ship, until


def run(place: Place, *arguments: str) -> Result:
    environment = {
        "MODELYARD_MONGO_URI": "mongodb://unused",
        "MODELYARD_HOME": "/home/unused",
        **place.destination.to_environment(),
        "MODELYARD_S3_ACCESS_KEY": place.destination.s3_access_key or "",
        "MODELYARD_S3_SECRET_KEY": place.destination.s3_secret_key or "",
    }
    return CliRunner(env=environment).invoke(main, ["predictions", *arguments])


@pytest.mark.parametrize("kind", ["in_folder", "in_s3"])
def test_predictions_and_feedback_are_shown_as_json_lines(
    serve: Serve, ship: Ship, kind: str, request: pytest.FixtureRequest
) -> None:
    place: Place = request.getfixturevalue(kind)
    server = serve(seconds=0.3)
    server.predict(1, **{"X-Request-Id": "order-1"})
    server.post("/feedback", {"request_id": "order-1", "truth": 2.0})
    ship(place)
    until(lambda: '"order-1"' in run(place, "show", "sum", "--feedback").stdout)
    until(lambda: '"order-1"' in run(place, "show", "sum").stdout)
    shown = json.loads(run(place, "show", "sum", "--since", "5m", "--version", "3").stdout)
    assert (shown["request_id"], shown["inputs"]["a"], shown["version"]) == ("order-1", [1], "3")
    assert datetime.fromisoformat(shown["time"]).utcoffset() == timedelta(0)
    assert "T" in shown["time"]
    truth = json.loads(run(place, "show", "sum", "--feedback").stdout)
    assert truth["truth"] == {"prediction": 2.0}
    for nothing in (
        ["sum", "--environment", "staging"],
        ["sum", "--version", "2"],
        ["other"],
        ["sum", "--until", "1h"],
    ):
        shown_too = run(place, "show", *nothing)
        assert (shown_too.exit_code, shown_too.stdout) == (0, "")


def test_the_policy_lets_a_user_add_below_the_models_prefix_and_nothing_else(in_s3: Place, s3: S3) -> None:
    said = run(in_s3, "policy", "wine")
    (statement,) = json.loads(said.stdout)["Statement"]
    assert statement["Action"] == ["s3:PutObject"]
    assert statement["Resource"] == [f"arn:aws:s3:::{s3.bucket}/store/served/wine/*"]
    assert f"create secret generic {secret_name('wine')}" in said.stderr
    assert "/home/unused/shippers/wine" in said.stderr
    assert s3.secret_key not in said.output


def test_a_folder_needs_no_policy(in_folder: Place) -> None:
    said = run(in_folder, "policy", "wine")
    assert said.exit_code == 65
    assert urlsplit(in_folder.destination.artifacts).path in said.output


@pytest.mark.parametrize(
    "since", ["yesterday", "5", "5s", "2026-13-01", "999999d", "9" * 40 + "m", "0001-01-01", "9999-12-31T23:59Z"]
)
def test_a_time_that_is_none_is_refused(in_folder: Place, since: str) -> None:
    said = run(in_folder, "show", "sum", "--since", since)
    assert said.exit_code == 2
    assert "is no time" in said.output


def test_a_store_that_is_not_there_is_told_in_words(tmp_path: Path) -> None:
    said = CliRunner(env={"MODELYARD_HOME": str(tmp_path)}).invoke(main, ["predictions", "show", "sum"])
    assert said.exit_code == 65
    assert "No model store is named" in said.output
