"""``python -P -m modelyard.client.describe ENTRY --fd N``: writes the config of an entry's experiment to N, no more.

As JSON, a list in the experiment's own order:

    [{"path": "model.C", "type": "number", "default": 1.0, "doc": "inverse of regularization strength"}, …]

Types are JSON Schema's; the doc is the comment beside the entry. ``seed`` is left out: model.yaml sets it. What goes
wrong in the project's code ends it with a trace; an entry without an experiment, with a sentence and exit code 65.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelyard.client.plain import plain

JSON = dict[str, Any]

_REFUSED = 65  # EX_DATAERR of sysexits.h
_TYPES = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


class NoExperiment(Exception):
    """The entry defines no Sacred experiment that could be run."""


class _Captured(BaseException):
    """Ends the entry's code where it would run the experiment; not to be caught by it."""

    def __init__(self, run: Any) -> None:
        self.run = run


def describe(entry: Path) -> list[JSON]:
    """Return the entry's config.

    Raises:
        NoExperiment: it has no experiment, or none with a main function.
    """
    from sacred.experiment import Experiment

    made: list[Any] = []
    initialize, create_run = Experiment.__init__, Experiment._create_run

    def remembering(experiment: Any, *arguments: Any, **named: Any) -> None:
        initialize(experiment, *arguments, **named)
        made.append(experiment)

    def captured(experiment: Any, command_name: Any = None, *_: Any, **__: Any) -> None:
        # Without the updates and options it was called with: the defaults are asked for.
        raise _Captured(create_run(experiment, command_name))

    Experiment.__init__, Experiment._create_run = remembering, captured
    try:
        if entry.suffix == ".ipynb":
            _execute_cells(entry)
        else:
            # Not as __main__: neither @ex.automain nor `if __name__ == "__main__"` runs the experiment.
            runpy.run_path(str(entry), run_name="__modelyard__")
    except _Captured as end:
        return _entries(end.run)
    finally:
        Experiment.__init__, Experiment._create_run = initialize, create_run
    runnable = [experiment for experiment in made if experiment.default_command is not None]
    if not runnable:
        found = (
            "has no main function: decorate it with @ex.automain" if made else "is not there: ex = Experiment('name')"
        )
        raise NoExperiment(f"{entry.name} defines no Sacred experiment that can be run: it {found}")
    return _entries(runnable[-1]._create_run())


def _execute_cells(notebook: Path) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    for cell in json.loads(notebook.read_bytes())["cells"]:
        if cell["cell_type"] == "code":
            result = shell.run_cell("".join(cell["source"]))
            result.raise_error()


def _entries(run: Any) -> list[JSON]:
    docs = run.config_modifications.docs
    return [
        {"path": path, "type": _TYPES[type(value)], "default": value, "doc": docs.get(path)}
        for path, value in _flat(plain(run.config))
        if path != "seed"
    ]


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        elif key != "__doc__":
            yield prefix + key, value


def main() -> None:
    """Describe the entry given on the command line."""
    parser = argparse.ArgumentParser(prog="modelyard.client.describe")
    parser.add_argument("entry", type=Path)
    parser.add_argument("--fd", type=int, required=True)
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.entry.absolute().parent))
    try:
        entries = describe(arguments.entry)
    except NoExperiment as error:
        print(error, file=sys.stderr)
        sys.exit(_REFUSED)
    with os.fdopen(arguments.fd, "w", encoding="utf-8") as file:
        json.dump(entries, file)


if __name__ == "__main__":
    main()
