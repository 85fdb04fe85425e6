"""``make demo`` and ``make stop``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click
import httpx
from rich.console import Console

from modelyard.demo.airflow import USER
from modelyard.demo.machine import Machine
from modelyard.demo.rest import AirflowApi
from modelyard.demo.show import failures, follow
from modelyard.errors import ModelyardError, Unavailable

_MODEL = "wine"
# Another value than the project's own, to show that a run is given its configuration when it is triggered.
_CONF = {"config.C": 0.5, "reason": "make demo"}


@click.group()
def main() -> None:
    """Run the demo in this repository; all it makes is in .modelyard."""


@main.command()
def up() -> None:
    """Start everything, take the example model through its pipeline, and ask the service that comes of it."""
    console = Console(highlight=False)
    machine = _machine()
    try:
        machine.start(lambda text: console.print(f"[dim]{text} …[/]"))
        with machine.api() as api:
            address = _release(api, console)
        _ask(address, console)
        _tell(machine, address, console)
    except ModelyardError as error:
        Console(stderr=True).print(f"[bold red]{error.message}[/]\n  → {error.remedy or machine.airflow.log_file}")
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("\nWhat was started keeps running; it ends with:  make stop")
        sys.exit(130)


@main.command()
def stop() -> None:
    """End all that the demo started, and what its pipelines have deployed."""
    console = Console(highlight=False)
    _machine().stop(lambda text: console.print(f"{text}."))
    console.print("Nothing of the demo runs. All it made is in .modelyard, which can be deleted.")


def _machine() -> Machine:
    repository = Path.cwd()
    projects = repository / "include" / "examples"
    return Machine(repository / ".modelyard", repository, [projects], os.environ, port=8080)


def _release(api: AirflowApi, console: Console) -> str:
    """Run the example's DAG as any client of Airflow would, and return the address of the service."""
    api.wait_for_dag(_MODEL)
    run = api.trigger(_MODEL, _CONF)
    console.print(f"\n[bold]POST /api/v2/dags/{_MODEL}/dagRuns[/]  conf {json.dumps(_CONF)}\n")
    if follow(api, _MODEL, run, console) != "success":
        for task, error in failures(api, _MODEL, run).items():
            console.print(f"\n[bold red]{task} failed[/]")
            console.print(error, markup=False)
        raise Unavailable(f"The run {run} of '{_MODEL}' has failed", "the whole log of each task is in Airflow's UI")
    return str(api.xcom(_MODEL, run, "deploy")["address"])


def _ask(address: str, console: Console) -> None:
    """Ask the live service for a prediction, with the example its own documentation gives.

    Raises:
        Unavailable: it does not answer, or refuses.
    """
    try:
        operation = httpx.get(f"{address}/openapi.json").raise_for_status().json()["paths"]["/predict"]["post"]
        request = operation["requestBody"]["content"]["application/json"]["example"]
        answer = httpx.post(f"{address}/predict", json=request).raise_for_status()
    except httpx.HTTPError as error:
        raise Unavailable(
            f"The service at {address} gives no prediction: {error}",
            f"see why in .modelyard/deployments/production/{_MODEL}/service.log, then: make demo",
        ) from error
    console.print(f"\n[bold]$ curl {address}/predict -d '{json.dumps(request)}'[/]", soft_wrap=True)
    console.print(answer.text, markup=False, soft_wrap=True)


def _tell(machine: Machine, address: str, console: Console) -> None:
    airflow = machine.airflow
    lines = f"""
  Airflow    {airflow.url}    user {USER}, password {airflow.password}
  Models     {airflow.url}/plugin/models
  Service    {address}    documentation at {address}/docs
  Stop       make stop
"""
    console.print(lines, soft_wrap=True)


if __name__ == "__main__":
    main()
