"""The examples and the template, trained by plain Sacred in a project's environment, with no store at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from importlib.resources import as_file, files
from pathlib import Path

import pytest
from tests.landlock import needs_landlock

from modelyard.client.child import environment, lay_client
from modelyard.errors import ProjectError
from modelyard.project import load
from modelyard.project.entry import read_cells
from modelyard.project.experiment import describe
from modelyard.project.lock import locked, read_lock
from modelyard.project.new import new

EXAMPLES = Path(__file__).parents[3] / "include/examples"
NAMES = ["wine", "houses", "digits-notebook", "my-model"]


@pytest.fixture(params=NAMES)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / str(request.param)
    if request.param == "my-model":
        new(folder)
    else:
        shutil.copytree(EXAMPLES / str(request.param), folder)
    return folder


def train(folder: Path, python: Path, temporary: Path) -> tuple[str, str]:
    """Train a copy of a project; return the digest of its model directory and what it printed."""
    copy = Path(shutil.copytree(folder, temporary / "project"))
    entry = copy / "train.py"
    code = "\n\n".join(cell.source for cell in read_cells(copy / load(copy).entry))
    entry.write_text(code.replace("config_updates = {}", "config_updates = {'seed': 42}"))  # of a notebook
    (temporary / "home").mkdir()
    variables = environment(python, temporary / "home", code=[lay_client(temporary / "client")])
    command = [str(python), "-W", "ignore", str(entry), "with", "seed=42"]
    done = subprocess.run(command, cwd=copy, env=variables, check=True, capture_output=True, text=True)
    (model,) = (copy / ".modelyard/models").iterdir()
    digest = hashlib.sha256()
    for path in sorted(model.rglob("*")):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest(), done.stderr


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(project: Path, project_python: Path, tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    one, said = train(project, project_python, tmp_path / "1")
    two, _ = train(project, project_python, tmp_path / "2")
    assert "Completed" in said
    assert one == two


def test_the_lock_says_what_the_experiment_says(project: Path, project_python: Path) -> None:
    loaded = load(project)
    assert read_lock(project) == locked(loaded, project, describe(project, loaded.entry, project_python, hidden=()))


def test_the_templates_packages_are_those_of_an_example() -> None:
    """So that a first model of one's own needs no second environment."""
    with as_file(files("modelyard") / "templates/project/requirements.txt") as template:
        assert template.read_bytes() == (EXAMPLES / "houses/requirements.txt").read_bytes()


@pytest.mark.parametrize("path", sorted([*EXAMPLES.glob("*/*.lock*"), *EXAMPLES.glob("*/requirements.txt")]), ids=str)
def test_no_lock_names_where_packages_come_from(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text.replace("https://archive.ics.uci.edu", "")
    if path.name == "Pipfile.lock":
        assert json.loads(text)["_meta"]["sources"] == []


def test_an_entry_that_fails_shows_its_own_trace(project_python: Path, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import sacred\nimport no_such_package\n")
    with pytest.raises(ProjectError, match="No module named 'no_such_package'"):
        describe(tmp_path, "train.py", project_python, hidden=())


def test_an_entry_without_an_experiment(project_python: Path, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import sacred\n")
    with pytest.raises(ProjectError, match=r"train.py: train.py defines no Sacred experiment"):
        describe(tmp_path, "train.py", project_python, hidden=())


@needs_landlock
def test_the_projects_code_reads_nothing_hidden(project_python: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "home" / "mongo"
    hidden.mkdir(parents=True)
    (hidden / "server.json").write_text("hunter2")
    (tmp_path / "train.py").write_text(f"import sacred\nprint(open('{hidden}/server.json').read())\n")
    with pytest.raises(ProjectError, match="Permission denied") as raised:
        describe(tmp_path, "train.py", project_python, hidden=[hidden])
    assert "hunter2" not in str(raised.value)


def test_the_projects_code_sees_no_credential(
    project_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELYARD_MONGO_URI", "mongodb://me:hunter2@127.0.0.1/")
    (tmp_path / "train.py").write_text(
        "import os\nfrom sacred import Experiment\nex = Experiment('x')\nex.add_config(seen=sorted(os.environ))\n"
        "@ex.main\ndef main(): pass\n"
    )
    (config,) = describe(tmp_path, "train.py", project_python, hidden=())
    assert "PATH" in config["default"]
    assert not [name for name in config["default"] if "MONGO" in name]
