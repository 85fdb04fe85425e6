"""The ``modelyard`` command. Each command imports what it needs when it is called, so that help comes at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import modelyard
from modelyard.errors import ModelyardError

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


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


@main.command()
@click.argument("folder", type=FOLDER, default=".")
def check(folder: Path) -> None:
    """Is the model project in FOLDER sound, before anything runs?"""
    from modelyard.project.check import check

    project = check(folder)
    click.secho(f"{project.name} is sound.", fg="green")


if __name__ == "__main__":
    main()
