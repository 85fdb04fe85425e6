"""`modelyard services`: the services of this machine, for a person at a terminal."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from modelyard.cli import main

from .conftest import Deploy, Images, ask


def test_services_are_listed_stopped_and_started(home: Path, images: Images, deploy: Deploy) -> None:
    runner = CliRunner(env={"MODELYARD_HOME": str(home), "COLUMNS": "120"})
    assert runner.invoke(main, ["services"]).output == "Nothing was ever deployed on this machine.\n"

    port = deploy(images.spec(3))
    head, row = runner.invoke(main, ["services"]).output.splitlines()
    assert head.split() == ["model", "environment", "version", "address", "running"]
    assert row.split() == ["sum", "production", "3", f"http://127.0.0.1:{port}", "yes"]

    assert runner.invoke(main, ["services", "stop"]).output == "1 service stopped.\n"
    assert runner.invoke(main, ["services"]).output.splitlines()[1].split()[-1] == "no"
    assert runner.invoke(main, ["services", "stop"]).output == "0 services stopped.\n"

    started = runner.invoke(main, ["services", "start"])
    assert (started.exit_code, started.output.splitlines()[1].split()[-1]) == (0, "yes")
    assert ask(port) == 3
    assert runner.invoke(main, ["stop"]).output == "1 service stopped.\n"
    assert runner.invoke(main, ["stop"]).output == "Nothing of `modelyard run` was running here.\n"
