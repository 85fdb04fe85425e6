"""`modelyard services`: the services of this machine, for a person at a terminal."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner
from tests import released_models

from modelyard.cli import main
from modelyard.deployment import ServiceSpec
from modelyard.deployment.local import services
from modelyard.deployment.state import SEGMENTS, service_folder
from modelyard.store import Store, StoreAddress

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


def record(store: Store, spec: ServiceSpec) -> None:
    """Write down a deployment as its step does."""
    made = released_models.version(store, spec.model, spec.run_id)
    deployment = store.deployments.begin(
        model=spec.model,
        environment=spec.environment,
        generation=spec.generation,
        version=made.version,
        image_digest=spec.image_digest,
        target="local",
        by="ada",
        why="better",
        pipeline_run=None,
    )
    store.deployments.finish(deployment, "live")
    store.aliases.move(
        spec.model, spec.environment, to=made.version, by="ada", why="better", generation=spec.generation
    )


def test_a_service_is_removed_and_the_store_says_so(
    home: Path, images: Images, deploy: Deploy, store_address: StoreAddress
) -> None:
    runner = CliRunner(env={"MODELYARD_HOME": str(home), **store_address.to_environment()})
    port, spec = deploy(images.spec(3)), images.spec(3)
    with Store.open(store_address) as store:
        record(store, spec)

        refused = runner.invoke(main, ["services", "remove", "sum", "staging"])
        assert (refused.exit_code, "it has one in: production" in refused.output) == (65, True)
        assert ask(port) == 3

        assert runner.invoke(main, ["services", "remove", "sum"]).output == (
            "Version 3 of sum serves in 'production' no more.\n"
        )
        assert services(home) == []
        assert not service_folder(home.resolve(), "production", "sum").exists()
        assert store.deployments.live("sum", "production") is None
        alias = store.aliases.get("sum", "production")
        assert alias is not None
        assert (alias.version, alias.history[-1].why) == (None, "modelyard services remove")
        assert runner.invoke(main, ["services", "remove", "sum"]).exit_code == 65


def test_what_another_deployment_has_put_live_since_is_left_alone(
    home: Path, images: Images, deploy: Deploy, store_address: StoreAddress
) -> None:
    runner = CliRunner(env={"MODELYARD_HOME": str(home), **store_address.to_environment()})
    deploy(images.spec(3))
    with Store.open(store_address) as store:
        record(store, images.spec(4))
        assert runner.invoke(main, ["services", "remove", "sum", "production"]).exit_code == 0
        assert services(home) == []
        assert store.deployments.live("sum", "production") is not None
        alias = store.aliases.get("sum", "production")
        assert alias is not None
        assert alias.version == 1


def test_a_service_whose_log_is_not_all_sent_is_stopped_and_kept(
    home: Path, images: Images, deploy: Deploy, store_address: StoreAddress
) -> None:
    runner = CliRunner(env={"MODELYARD_HOME": str(home), **store_address.to_environment()})
    deploy(images.spec(3))
    segments = service_folder(home.resolve(), "production", "sum") / SEGMENTS
    segments.mkdir()
    unsent = segments / "predictions.3.20260101T000000Z.0123456789ab.1.7.jsonl.gz"
    unsent.touch()
    refused = runner.invoke(main, ["services", "remove", "sum"])
    assert (refused.exit_code, "of its prediction log 1 files are not sent" in refused.output) == (75, True)
    assert [live.running for live in services(home)] == [False]
    unsent.unlink()
    assert runner.invoke(main, ["services", "remove", "sum"]).exit_code == 0
    assert services(home) == []
