"""``python -I -m modelyard.recording.notebook FILE``: executes a notebook, its kernel in the project's environment.

A process of Modelyard's own environment with papermill, so that a project's lock needs ipykernel alone; without a
credential, as the kernel is. FILE says what to do, see ``prepare_notebook``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.client.child import confined

EXECUTED = "executed.ipynb"
_KERNEL = "project"


def prepare_notebook(
    notebook: Path, folder: Path, updates: Mapping[str, Any], python: Path, variables: Mapping[str, str]
) -> list[str]:
    """Return the command that executes a notebook; with its outputs it is ``folder / EXECUTED`` then.

    Args:
        notebook: its cell tagged ``parameters`` has ``config_updates = {}``, which it gives to ``ex.run``.
        folder: for files of this execution.
        updates: the Sacred config that ``config_updates`` gets, by dotted path.
        python: the project's interpreter, with ipykernel.
        variables: the kernel's whole environment.
    """
    order = folder / "notebook.json"
    order.write_text(
        json.dumps(
            {
                "notebook": str(notebook),
                "executed": str(folder / EXECUTED),
                "config_updates": _nested(updates),
                "python": str(python),
                "variables": dict(variables),
                "jupyter": str(folder / "jupyter"),
            }
        )
    )
    return [sys.executable, "-I", "-m", "modelyard.recording.notebook", str(order)]


def main() -> None:
    """Execute the notebook; ends with papermill's error when a cell fails."""
    import papermill

    order = json.loads(Path(sys.argv[1]).read_bytes())
    os.environ["JUPYTER_PATH"] = order["jupyter"]
    _write_kernel(Path(order["jupyter"], "kernels", _KERNEL), order["python"], order["variables"])
    papermill.execute_notebook(
        order["notebook"],
        order["executed"],
        parameters={"config_updates": order["config_updates"]},
        kernel_name=_KERNEL,
        language="python",
        cwd=str(Path(order["notebook"]).parent),
        progress_bar=False,
        stdout_file=sys.stdout,
        stderr_file=sys.stderr,
    )


def _write_kernel(folder: Path, python: str, variables: Mapping[str, str]) -> None:
    folder.mkdir(parents=True)
    command = [python, "-P", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": confined(command, hidden=()), "env": variables, "display_name": _KERNEL, "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))


def _nested(updates: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in updates.items():
        *parents, name = path.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = value
    return nested


if __name__ == "__main__":
    main()
