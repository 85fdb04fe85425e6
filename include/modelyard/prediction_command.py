"""``modelyard predictions``: what models in production have answered, and what came true."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import asdict
from datetime import MAXYEAR, UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from modelyard.here import open_address
from modelyard.store.address import home_folder

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class _Moment(click.ParamType[datetime]):
    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment that ``90m``, ``2h``, ``7d`` (ago) or an ISO 8601 time names."""
        if isinstance(value, datetime):
            return value
        try:
            return _moment(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time since 1970: write 90m, 2h, 7d (ago) or 2026-05-01T12:00Z", param, ctx)


def _moment(text: str) -> datetime:
    if match := re.fullmatch(r"([0-9]+)([mhd])", text):
        moment = datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
    else:
        moment = datetime.fromisoformat(text).astimezone(UTC)
    if not 1970 <= moment.year < MAXYEAR:  # where an hour before and after is a time, too
        raise ValueError
    return moment


@click.group()
def predictions() -> None:
    """Read what models in production have answered, and let it be kept."""


@predictions.command()
@click.argument("model")
@click.option("--environment", default="production", show_default=True, help="Where it is deployed.")
@click.option("--version", type=int, help="Of this version alone.")
@click.option("--feedback", is_flag=True, help="The ground truth that was told, instead.")
@click.option("--since", type=_Moment(), default="1h", show_default=True, help="90m, 2h, 7d (ago), or an ISO time.")
@click.option("--until", type=_Moment(), help="The same; default: now.")
def show(
    model: str, environment: str, version: int | None, feedback: bool, since: datetime, until: datetime | None
) -> None:
    """Write what MODEL has answered as JSON lines, from the object store. The last minute may still be on its way."""
    from modelyard.monitoring.segments import Segments
    from modelyard.store.artifacts import open_backend

    def say(text: str) -> None:
        click.secho(text, fg="yellow", err=True)

    if feedback and version is not None:
        raise click.UsageError("feedback is about a request or an entity: leave --version out")
    segments = Segments(open_backend(open_address(os.environ)), model, environment, say)
    end = until or datetime.now(UTC)
    found = segments.feedback(since, end) if feedback else segments.predictions(since, end, version)
    for record in found:
        said = {name: value for name, value in asdict(record).items() if value is not None}
        click.echo(json.dumps(said, default=datetime.isoformat))


@predictions.command()
@click.argument("model")
def policy(model: str) -> None:
    """Write the S3 policy of a user who may send MODEL's prediction log away and nothing else.

    Such a user's keys belong where the servers run: in a Secret of the environment's namespace, or on this machine.
    """
    from modelyard.deployment.kubernetes.side_car import secret_name
    from modelyard.errors import RequestError
    from modelyard.monitoring import destination

    artifacts = open_address(os.environ).artifacts
    if not artifacts.startswith("s3://"):
        raise RequestError(f"The store keeps its objects in {artifacts}, a folder", "nobody needs a credential for it")
    click.echo(json.dumps(destination.policy(artifacts, model), indent=2))
    click.secho(
        f"In a cluster:    kubectl -n ENVIRONMENT create secret generic {secret_name(model)} "
        f"--from-literal={destination.ACCESS_KEY}=… --from-literal={destination.SECRET_KEY}=…\n"
        f"On this machine: files {destination.ACCESS_KEY} and {destination.SECRET_KEY} in "
        f"{destination.credential_folder(home_folder(os.environ), model)}",
        dim=True,
        err=True,
    )


@predictions.command(hidden=True)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--prefix", required=True, help="Where it goes in the object store.")
@click.option("--credential", type=click.Path(path_type=Path), help="A folder with its access key and secret key.")
@click.option("--parent", type=int, help="The process that it ends with.")
def ship(folder: Path, prefix: str, credential: Path | None, parent: int | None) -> None:
    """Send the segments in FOLDER to the object store until told to stop: what runs beside a server."""
    import signal
    import threading

    from modelyard.monitoring.destination import Destination
    from modelyard.monitoring.shipper import Shipper
    from modelyard.process import die_with_parent, hide
    from modelyard.store.artifacts import Backend

    hide()
    if parent is not None:
        die_with_parent(parent)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    destination = Destination.from_environment(os.environ)

    def connect() -> Backend:
        return (destination if credential is None else destination.with_credential(credential)).open()

    def say(text: str) -> None:
        print(f"modelyard.shipper: {text}", file=sys.stderr, flush=True)

    say(f"what is logged in {folder} goes to {prefix}")  # whoever started this knows by it that signals are taken
    sys.exit(0 if Shipper(folder, prefix, connect, say).run(stop) else 1)
