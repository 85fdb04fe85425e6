from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from modelyard.client.child import environment, lay_client

EXPERIMENT = """
from sacred import Experiment, Ingredient
data = Ingredient("data", interactive=True)

@data.config
def data_config():
    rows = 10  # how many

ex = Experiment("line", ingredients=[data], interactive=True)

@ex.config
def config():
    slope = 0.5  # rise over run
    steps = 3
    wanted = None
    model = {"name": "plain", "layers": [1, 2]}
    double = slope * 2

@ex.main
def main(slope):
    open("ran", "w")
"""

EXPECTED = {
    "data.rows": ("integer", 10, "how many"),
    "slope": ("number", 0.5, "rise over run"),
    "steps": ("integer", 3, None),
    "wanted": ("null", None, None),
    "model.name": ("string", "plain", None),
    "model.layers": ("array", [1, 2], None),
    "double": ("number", 1.0, None),
}


@pytest.fixture
def describe(tmp_path: Path, project_python: Path) -> Any:
    """Describe an entry with this text; returns exit code, config, and what was said."""
    (tmp_path / "home").mkdir()
    variables = environment(project_python, tmp_path / "home", code=[lay_client(tmp_path / "client")])

    def describe(text: str, entry: str = "train.py") -> tuple[int, Any, str]:
        (tmp_path / entry).write_text(text)
        read, write = os.pipe()
        with os.fdopen(read) as answer:
            command = [project_python, "-P", "-m", "modelyard.client.describe", entry, "--fd", str(write)]
            done = subprocess.run(
                list(map(str, command)),
                cwd=tmp_path,
                env=variables,
                pass_fds=[write],
                capture_output=True,
                text=True,
                timeout=120,
            )
            os.close(write)
            config = answer.read()
        assert not (tmp_path / "ran").exists(), "nothing is trained"
        return done.returncode, config and json.loads(config), done.stderr

    return describe


def entries(config: list[dict[str, Any]]) -> dict[str, Any]:
    return {entry["path"]: (entry["type"], entry["default"], entry["doc"]) for entry in config}


@pytest.mark.parametrize(
    "end",
    [
        "",
        "if __name__ == '__main__':\n    ex.run_commandline()",
        "ex.run(config_updates={'slope': 9.0})",
        "@ex.automain\ndef other(slope): open('ran', 'w')",
    ],
)
def test_the_config_is_told_however_the_experiment_is_run(describe: Any, end: str):
    code, config, said = describe(EXPERIMENT + end)
    assert code == 0, said
    assert entries(config) == EXPECTED


def test_a_notebook_is_executed_up_to_its_run(describe: Any):
    cells = ["config_updates = {}\n%env WITH_A_MAGIC=1", EXPERIMENT]
    cells += ["ex.run(config_updates=config_updates)", "open('ran', 'w')"]
    notebook = {"cells": [{"cell_type": "code", "source": source, "metadata": {}} for source in cells]}
    code, config, said = describe(json.dumps(notebook), "train.ipynb")
    assert code == 0, said
    assert entries(config) == EXPECTED


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1", "train.py defines no Sacred experiment"),
        ("from sacred import Experiment\nex = Experiment('e')", "it has no main function"),
    ],
)
def test_an_entry_without_an_experiment_says_so(describe: Any, text: str, says: str):
    code, config, said = describe(text)
    assert code == 65
    assert says in said
    assert not config


def test_code_that_fails_shows_its_own_trace(describe: Any):
    code, config, said = describe("import sacred\nraise ValueError('broken')")
    assert code == 1
    assert "ValueError: broken" in said
    assert not config
