"""What can be said of a project's entry without running it: a syntax tree tells, no import does.

Running it is for ``modelyard lock``, which has the project's environment; here a project may be looked at on a machine
that lacks it, and a project's code is never loaded into Modelyard's own process.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from pathlib import Path

from modelyard.errors import Problem, ProjectError


@dataclass(frozen=True)
class Cell:
    """A piece of the entry: the whole file, or one code cell of a notebook.

    Attributes:
        place: how a problem names it: ``train.ipynb, cell 3``.
        source: Python code, without IPython's own commands; line numbers are kept.
        tags: a notebook cell's tags.
    """

    place: str
    source: str
    tags: tuple[str, ...] = ()


def read_cells(path: Path) -> list[Cell]:
    """Return the code of a Python file or a notebook.

    Raises:
        ProjectError: it cannot be read, or it is no notebook.
    """
    remedy = "Save it again from your editor or from Jupyter."
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            return [Cell(path.name, text)]
        return [
            Cell(f"{path.name}, cell {number}", _python_of(cell), tuple(cell.get("metadata", {}).get("tags", ())))
            for number, cell in enumerate(json.loads(text)["cells"], start=1)
            if cell["cell_type"] == "code"
        ]
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError([Problem(path.name, None, "", f"It cannot be read: {error}", remedy)]) from error
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ProjectError([Problem(path.name, None, "", f"It is no notebook: {error!r}", remedy)]) from error


def check_entry(path: Path) -> list[Problem]:
    """Return what is certain to fail when the entry runs: no valid Python, no experiment, no model saved."""
    try:
        cells = read_cells(path)
    except ProjectError as error:
        return error.problems
    problems: list[Problem] = []
    names: set[str] = set()
    calls: set[str] = set()
    for cell in [*cells, *_local_modules(path, cells)]:
        try:
            tree = ast.parse(cell.source)
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None)
            message = f"This is no Python: {getattr(error, 'msg', error)}."
            problems.append(Problem(cell.place, line, "", message, "Correct it; `python train.py` shows the same."))
            continue
        names |= _imported(tree)
        calls |= _called(tree)
    if problems:
        return problems
    if not ("Experiment" in calls and any(name.split(".")[0] == "sacred" for name in names)):
        message = "It defines no Sacred experiment."
        remedy = "Write: from sacred import Experiment; ex = Experiment('my-model')"
        problems.append(Problem(path.name, None, "", message, remedy))
    if "log_model" not in calls:
        message = "It saves no model: nothing could be released."
        remedy = "Call modelyard.log_model(_run, model, example=X[:5]) in the experiment's main function."
        problems.append(Problem(path.name, None, "", message, remedy))
    if path.suffix == ".ipynb":
        problems += _check_notebook(path, cells, calls)
    return problems


def _check_notebook(path: Path, cells: list[Cell], calls: set[str]) -> list[Problem]:
    problems: list[Problem] = []
    if not any("parameters" in cell.tags for cell in cells):
        message = "No cell has the tag `parameters`, so that a run could not be given its configuration."
        remedy = "Tag a cell near the top `parameters`, with the line: config_updates = {}"
        problems.append(Problem(path.name, None, "", message, remedy))
    if not any("config_updates=config_updates" in cell.source.replace(" ", "") for cell in cells) or "run" not in calls:
        message = "It never runs the experiment with the configuration it was given."
        remedy = "Write as the last cell: ex.run(config_updates=config_updates)"
        problems.append(Problem(path.name, None, "", message, remedy))
    return problems


def _python_of(cell: dict[str, object]) -> str:
    source = cell["source"]
    text = "".join(source) if isinstance(source, list) else str(source)
    lines = text.split("\n")
    if lines[0].startswith("%%"):  # the whole cell is IPython's
        return ""
    return "\n".join("pass" if line.lstrip().startswith(("%", "!")) else line for line in lines)


def _local_modules(path: Path, cells: list[Cell]) -> list[Cell]:
    """Return the project's own modules that the entry imports, as one may define the experiment."""
    found: dict[Path, Cell] = {}
    waiting = list(cells)
    while waiting:
        cell = waiting.pop()
        try:
            tree = ast.parse(cell.source)
        except (SyntaxError, ValueError):
            continue  # check_entry reports it
        for name in _imported(tree):
            module = path.parent.joinpath(*name.split("."))
            for file in (module.with_suffix(".py"), module / "__init__.py"):
                if file.is_file() and file not in found and file != path:
                    found[file] = Cell(str(file.relative_to(path.parent)), file.read_text(encoding="utf-8"))
                    waiting.append(found[file])
    return list(found.values())


def _imported(tree: ast.Module) -> set[str]:
    """Return the dotted names of modules; what ``from`` takes out of a module may be one, too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _called(tree: ast.Module) -> set[str]:
    functions = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {
        function.id if isinstance(function, ast.Name) else function.attr
        for function in functions
        if isinstance(function, ast.Name | ast.Attribute)
    }
