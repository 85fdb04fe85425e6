"""``modelyard run`` and ``modelyard train``: a project's pipeline on this machine, without Airflow."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from modelyard.here import open_address
from modelyard.store.address import home_folder

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)

_CONFIG = "config."
# Every other Param is text.
_TYPES = {"version": click.IntRange(1), "release": click.BOOL, "approve": click.BOOL}


@click.command()
@click.argument("folder", type=FOLDER, default=".")
@click.argument("updates", nargs=-1)
def train(folder: Path, updates: tuple[str, ...]) -> None:
    """Train the project in FOLDER in its locked environment and register a candidate version.

    UPDATES are values of the training config, as Sacred takes them: lr=0.1 model.C=2
    """
    _pipeline(folder, {"release": False, **read_conf(_CONFIG + update for update in updates)})


@click.command()
@click.argument("folder", type=FOLDER, default=".")
@click.argument("conf", nargs=-1)
def run(folder: Path, conf: tuple[str, ...]) -> None:
    """Take the project in FOLDER through the whole pipeline on this machine, without Airflow.

    CONF are Params of its DAG: config.lr=0.1 data.houses=file:///new.csv version=3 environment=staging
    """
    _pipeline(folder, read_conf(conf))


def read_conf(pairs: Iterable[str]) -> dict[str, Any]:
    """Return the Params that ``KEY=VALUE`` texts say: the training config as Sacred reads it, others by their type.

    Raises:
        BadParameter: one is not KEY=VALUE, or its value is of another type, or none that JSON has.
    """
    conf = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or key in ("", _CONFIG):
            raise click.BadParameter(f"'{pair.removeprefix(_CONFIG)}' is not KEY=VALUE")
        try:
            conf[key] = _config_value(text) if key.startswith(_CONFIG) else _TYPES.get(key, click.STRING)(text)
        except click.BadParameter as error:
            raise click.BadParameter(f"{key}: {error.message}") from error
    return conf


def _config_value(text: str) -> Any:
    """Return a value of the training config: a Python literal, or else the text; a list where Sacred makes one too."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    except (TypeError, MemoryError, RecursionError) as error:
        raise click.BadParameter(f"'{text}' cannot be read: {error}") from error
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise click.BadParameter(
            f"'{text}' is no value of a run's config: numbers, text, True, False, None, lists and dictionaries are"
        ) from error


def _pipeline(folder: Path, params: dict[str, Any]) -> None:
    from modelyard.project.lock import read_lock
    from modelyard.steps.local_run import run_pipeline
    from modelyard.supply_chain import SigningKey

    def emit(step: str, line: str) -> None:
        click.echo(f"{click.style(f'{step:>13}', fg='cyan')}  {line}")

    folder, home = folder.resolve(), home_folder(os.environ)
    lock = read_lock(folder) | {"source": {"folder": str(folder)}}
    address = open_address(os.environ, new=True)
    _, code = run_pipeline(lock, params, address, home, emit, signing=SigningKey.from_environment(os.environ))
    if code != 0:
        click.get_current_context().exit(code)
