"""The ``modelyard`` command. Each command imports what it needs when it is called, so that help comes at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import modelyard
from modelyard.doctor_command import doctor, doctor_probe
from modelyard.errors import ModelyardError, Unavailable
from modelyard.gc_command import gc
from modelyard.here import open_address
from modelyard.image_command import image
from modelyard.prediction_command import predictions
from modelyard.run_command import FOLDER, run, train
from modelyard.serve_command import serve
from modelyard.service_command import remove_service
from modelyard.store.address import home_folder
from modelyard.terminal import progress

if TYPE_CHECKING:
    from modelyard.deployment import Live
    from modelyard.sources import Credentials


class Commands(click.Group):
    """The group of all commands: one of Modelyard's own errors is shown in words, without a trace."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for; end with the exit code of its error."""
        try:
            return super().invoke(ctx)
        except ModelyardError as error:
            click.secho(str(error), fg="red", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(modelyard.__version__, prog_name="modelyard")
def main() -> None:
    """Take a machine-learning model from experiment to production on Apache Airflow."""


main.add_command(train)
main.add_command(run)
main.add_command(image)
main.add_command(serve)
main.add_command(doctor)
main.add_command(doctor_probe)
main.add_command(predictions)
main.add_command(gc)


@main.command()
@click.argument("folder", metavar="NAME", type=click.Path(path_type=Path))
def new(folder: Path) -> None:
    """Write a small, sound model project into the new folder NAME, in Git."""
    from modelyard.project.new import new

    has_repository = new(folder.resolve())
    click.secho(f"{folder} is a model project{', committed to Git' if has_repository else ''}.", fg="green")
    if not has_repository:
        click.echo("It is part of the Git repository around it: commit it there.")
    click.echo(f"Take it through the whole pipeline with: modelyard run {folder}")


@main.command()
@click.argument("folder", type=FOLDER, default=".")
def check(folder: Path) -> None:
    """Is the model project in FOLDER sound, before anything runs?"""
    from modelyard.project.check import check

    project = check(folder.resolve())
    click.secho(f"{project.name} is sound.", fg="green")


@main.command()
@click.argument("folder", type=FOLDER, required=False)
@click.option("--git", "url", metavar="URL", help="Enter the project of this Git repository into a list instead.")
@click.option("--ref", help="Branch, tag or commit that runs use; the default branch when not given.")
@click.option("--subfolder", default="", help="The project's folder within the repository.")
@click.option("--connection", help="Id of the Airflow connection with user and token for the repository.")
@click.option("--into", type=FOLDER, default=".", show_default=True, help="The folder that holds git-projects.json.")
def lock(
    folder: Path | None, url: str | None, ref: str | None, subfolder: str, connection: str | None, into: Path
) -> None:
    """Write what Airflow shows of a project: model.lock.json in FOLDER, to be committed with it.

    The project's environment is built for this, once, and its experiment is asked for its configuration.

    For a repository that asks for a login, MODELYARD_GIT_USERNAME and MODELYARD_GIT_PASSWORD hold it.
    """
    from modelyard.project.write_lock import write_git_entry, write_lock

    if url is None:
        folder = (folder or Path()).resolve()
        changed = write_lock(folder, home_folder(os.environ), progress)
        click.secho(f"model.lock.json is {'written: commit it' if changed else 'up to date'}.", fg="green")
        return
    if folder is not None:
        raise click.UsageError("Give a FOLDER or --git, not both.")
    source = {"git": url, "ref": ref, "subfolder": subfolder}
    name = write_git_entry(into, source, connection, _git_credentials())
    click.secho(f"{name} is entered into {into / 'git-projects.json'}: commit it.", fg="green")


def _git_credentials() -> Credentials | None:
    from modelyard.sources import Credentials

    token = os.environ.get("MODELYARD_GIT_PASSWORD")
    return Credentials(os.environ.get("MODELYARD_GIT_USERNAME", "git"), token) if token else None


@main.command()
def stop() -> None:
    """End what `modelyard run` left running on this machine: services, and the store if it is the embedded one."""
    from modelyard import embedded
    from modelyard.deployment.local import stop_all

    home = home_folder(os.environ)
    if services := stop_all(home):
        click.echo(_stopped(services))
    if store := embedded.stop(home / "mongo"):
        click.echo("The embedded store is stopped; what it holds is kept.")
    if not services and not store:
        click.echo("Nothing of `modelyard run` was running here.")


@main.command()
@click.argument("name", required=False)
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    default=20,
    show_default=True,
    help="Most versions to show, the newest first.",
)
def versions(name: str | None, limit: int) -> None:
    """List the versions of model NAME, with their metrics and aliases; without NAME, of all models."""
    from rich.console import Console

    from modelyard.store import Store
    from modelyard.version_table import version_table

    with Store.open(open_address(os.environ)) as store:
        page = store.versions.find(name=name, limit=limit)
        aliases = {model: store.aliases.of(model) for model in {version.name for version in page.versions}}
    if not page.versions:
        click.echo(f"There are no versions{f' of {name}' if name else ''} yet.")
        return
    Console(highlight=False).print(version_table(page.versions, aliases))
    if page.after is not None:
        click.echo(f"There are more: --limit {2 * limit}")


@main.group(invoke_without_command=True)
@click.pass_context
def services(ctx: click.Context) -> None:
    """List the services on this machine: where each answers, and whether it runs."""
    if ctx.invoked_subcommand is None:
        from modelyard.deployment.local import services

        _show_services(services(home_folder(os.environ)))


@services.command("start")
def start_services() -> None:
    """Start the services that were live before a stop or a restart of the machine."""
    from modelyard.deployment.local import start_all

    started = start_all(home_folder(os.environ))
    _show_services(started)
    if not all(live.running for live in started):
        click.get_current_context().exit(Unavailable.exit_code)


@services.command("stop")
def stop_services() -> None:
    """Stop the services; `modelyard services start` brings them back."""
    from modelyard.deployment.local import stop_all

    click.echo(_stopped(stop_all(home_folder(os.environ))))


def _stopped(services: int) -> str:
    return f"{services} service{'' if services == 1 else 's'} stopped."


services.add_command(remove_service)


def _show_services(services: list[Live]) -> None:
    from rich.console import Console

    from modelyard.deployment.service_table import service_table

    if services:
        Console(highlight=False).print(service_table(services))
    else:
        click.echo("Nothing was ever deployed on this machine.")


@main.command(hidden=True)
@click.argument("name")
@click.option("--pipeline-run", required=True, help="Key of the pipeline run.")
@click.option("--try-number", type=int, default=1)
@click.option("--clear-number", type=int, default=0)
@click.option("--beside", multiple=True, metavar="NAME=URL", help="An image that serves beside this step.")
@click.option(
    "--address",
    help="The store's address: a folder with a file for each variable; - is one line of JSON on standard input.",
)
@click.option(
    "--git", "git_folder", type=FOLDER, help="A folder with username and password of the project's repository."
)
@click.option("--cluster", "cluster_folder", type=FOLDER, help="A folder with the access to another cluster.")
@click.option("--signing", "signing_folder", type=FOLDER, help="A folder with cosign.key and cosign.password.")
@click.option("--runner-image", metavar="REF", help="The image of the pod that runs this step, to use it further.")
@click.option("--deadline", type=int, metavar="SECONDS", help="End after these, where nothing else would end a step.")
@click.option("--builder", help="What builds a Dockerfile: a folder shared with it; or engine, which is Docker's own.")
def step(
    name: str,
    pipeline_run: str,
    try_number: int,
    clear_number: int,
    beside: tuple[str, ...],
    address: str | None,
    git_folder: Path | None,
    cluster_folder: Path | None,
    signing_folder: Path | None,
    runner_image: str | None,
    deadline: int | None,
    builder: str | None,
) -> None:
    """Run one try of step NAME: what an execution mode starts."""
    import json

    from modelyard.deployment import ClusterAccess
    from modelyard.process import hide
    from modelyard.steps.entry import run_step
    from modelyard.steps.plan import DEPLOYING
    from modelyard.store.address import StoreAddress
    from modelyard.supply_chain import SigningKey

    hide()
    home = home_folder(os.environ)
    if name in DEPLOYING:
        runner_image = runner_image or os.environ.get("MODELYARD_RUNNER_IMAGE") or None
    git: tuple[str, str] | None
    cluster, signing = None, None
    if address == "-":
        given = json.loads(sys.stdin.readline())
        where, git, cluster = StoreAddress.from_json(given["address"]), given["git"], given["cluster"]
        signing = None if given["signing"] is None else SigningKey(**given["signing"])
    elif address is not None:
        where, git = StoreAddress.from_folder(Path(address)), None
    else:
        where = open_address(os.environ)
        user, token = os.environ.get("MODELYARD_GIT_USERNAME", ""), os.environ.get("MODELYARD_GIT_PASSWORD")
        git, signing = None if token is None else (user, token), SigningKey.from_environment(os.environ)
    if git_folder is not None:
        user, token = ((git_folder / name).read_text().rstrip("\n") for name in ("username", "password"))
        git = (user, token)
    if cluster_folder is not None:
        cluster = json.loads((cluster_folder / "access").read_text())
    if signing_folder is not None:
        signing = SigningKey.from_folder(signing_folder)
    sys.exit(
        run_step(
            name,
            pipeline_run,
            where,
            home,
            try_number=try_number,
            clear_number=clear_number,
            beside=dict(pair.split("=", 1) for pair in beside),
            git=None if git is None else (git[0], git[1]),
            cluster=None if cluster is None else ClusterAccess(**cluster),
            signing=signing,
            runner_image=runner_image,
            builder=builder,
            deadline=deadline,
        )
    )


@main.command(hidden=True)
@click.option("--fd", type=int, required=True)
@click.option("--project", type=FOLDER, required=True)
def relay(fd: int, project: Path) -> None:
    """Record the runs of a plain `python train.py`, which starts this by itself."""
    from modelyard.recording.relay import main

    sys.exit(main(fd, project, open_address(os.environ)))
