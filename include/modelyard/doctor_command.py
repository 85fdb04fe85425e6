"""``modelyard doctor``: what is wrong and what to do, before the first run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from modelyard.store.address import home_folder
from modelyard.terminal import progress

if TYPE_CHECKING:
    from modelyard.doctor.finding import Finding

_COLORS = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "cyan"}
_WIDTH = 28  # of most subjects; a longer one moves its own line on


@click.command()
@click.option("--namespace", metavar="NAME", help="Of the steps' pods. Default: Airflow's, or modelyard.")
@click.option(
    "--environment-namespace",
    "environments",
    metavar="NAME",
    multiple=True,
    help="One that models are deployed to; may be given several times.",
)
@click.option("--runner-image", metavar="REF", help="The image that steps run in. Default: Airflow's.")
def doctor(namespace: str | None, environments: tuple[str, ...], runner_image: str | None) -> None:
    """Look at Airflow, store, registry and cluster, and say what is wrong and what to do.

    Run it where Airflow's workers run, as they do: its configuration and its connection model_store_default say where
    everything is. Without an Airflow, the variables MODELYARD_* do.

    Ends with 1 when something failed. Nothing that it writes stays, except where a registry or bucket keeps what is
    deleted.
    """
    from modelyard.doctor.examine import Asked, examine

    counts = dict.fromkeys(_COLORS, 0)
    asked = Asked(namespace, environments, runner_image)
    for finding in examine(asked, os.environ, home_folder(os.environ), progress):
        counts[finding.state] += 1
        _show(finding)
    bad = [f"{counts[state]} {state}" for state in ("failed", "warning") if counts[state]]
    click.secho(", ".join(bad) if bad else "All is well.", bold=True)
    if counts["failed"]:
        click.get_current_context().exit(1)


def _show(finding: Finding) -> None:
    state = click.style(f"{finding.state:<8}", fg=_COLORS[finding.state])
    click.echo(f"{state} {finding.subject:<{_WIDTH}} {finding.found}")
    if finding.remedy is not None:
        click.echo(f"{'':9}{'':{_WIDTH}} → {finding.remedy}")


@click.command(hidden=True)
@click.option("--host", "hosts", multiple=True, metavar="HOST:PORT")
@click.option("--file", "files", multiple=True, metavar="PATH")
@click.option("--namespace", "namespaces", multiple=True, metavar="NAME")
def doctor_probe(hosts: tuple[str, ...], files: tuple[str, ...], namespaces: tuple[str, ...]) -> None:
    """Tell what is seen from here: what the doctor's pod runs."""
    import json

    from modelyard.doctor.probe import see

    places = [(host.strip("[]"), int(port)) for host, _, port in (one.rpartition(":") for one in hosts)]
    click.echo(json.dumps(see(places, files, namespaces)))
