from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from modelyard.errors import ProjectError
from modelyard.project.check import check, check_files

EXAMPLES = Path(__file__).parents[3] / "include/examples"


@pytest.fixture
def houses(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLES / "houses", tmp_path / "houses"))


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLES / "digits-notebook", tmp_path / "digits-notebook"))


def problems_of(folder: Path) -> list[str]:
    with pytest.raises(ProjectError) as caught:
        check(folder)
    return [str(problem) for problem in caught.value.problems]


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("name", sorted(path.parent.name for path in EXAMPLES.glob("*/model.yaml")))
def test_the_examples_are_sound(name: str) -> None:
    assert check(EXAMPLES / name).name == name


def test_every_file_with_a_mistake_is_told_at_once(houses: Path) -> None:
    (houses / "train.py").unlink()
    (houses / "data/houses.csv").unlink()
    (houses / "critical.jsonl").write_text("{\n")
    (houses / "expectations/houses.json").write_text("{")
    replace(houses / "requirements.txt", "sacred==0.8.7", "sacred>=0.8")
    found = "\n".join(problems_of(houses))
    for expected in (
        "model.yaml:5: entry: There is no train.py.",
        "requirements.txt:",
        "model.yaml:9: data.houses.uri: There is no data/houses.csv.",
        "expectations/houses.json:1: This is no JSON",
        "critical.jsonl:1: This is no JSON",
    ):
        assert expected in found


def test_no_lock_file(houses: Path) -> None:
    (houses / "requirements.txt").unlink()
    replace(houses / "model.yaml", "lock: requirements.txt\n", "")
    (found,) = problems_of(houses)
    assert "There is no lock file" in found


def test_a_dockerfile_is_the_environment_and_is_read(houses: Path) -> None:
    replace(houses / "model.yaml", "lock: requirements.txt\n", "")
    replace(houses / "requirements.txt", "sacred==0.8.7", "sacred>=0.8")  # the build's affair
    (houses / "Dockerfile").write_text("FROM python:3.11-slim\nRUN pip install -r requirements.txt\n")
    project = check_files(houses)
    assert (project.dockerfile, project.lock) == ("Dockerfile", None)

    (houses / "Dockerfile").write_text("ARG BASE\nFROM $BASE\n")
    replace(houses / "model.yaml", "name: houses\n", "name: houses\nlock: requirements.txt\n")
    found = "\n".join(problems_of(houses))
    assert "Dockerfile:2: '$BASE' names no image: BASE has no value." in found

    replace(houses / "model.yaml", "name: houses\n", "name: houses\ndockerfile: docker/Dockerfile\n")
    assert "There is no docker/Dockerfile." in "\n".join(problems_of(houses))


def test_a_lock_without_what_the_entry_needs(notebook: Path) -> None:
    text = (notebook / "requirements.txt").read_text()
    (notebook / "requirements.txt").write_text(text.replace("ipykernel==", "ipykornel=="))
    (found,) = problems_of(notebook)
    assert "It does not hold ipykernel" in found


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('ex = Experiment("houses")', 'ex = "houses"', "It defines no Sacred experiment."),
        ("from sacred import", "from sacrid import", "It defines no Sacred experiment."),
        ("log_model(_run, model, example=X[:5], training=X)", "pass", "It saves no model"),
        ("def config():", "def config(:", "train.py:22: This is no Python"),
    ],
)
def test_an_entry_that_cannot_work(houses: Path, old: str, new: str, expected: str) -> None:
    replace(houses / "train.py", old, new)
    assert expected in problems_of(houses)[0]


def test_the_experiment_may_be_in_a_module_of_the_project(houses: Path) -> None:
    (houses / "lib").mkdir()
    (houses / "train.py").rename(houses / "lib/prices.py")
    (houses / "train.py").write_text("from lib.prices import ex\n\nex.run_commandline()\n")
    (found,) = problems_of(houses)
    assert "model.lock.json: It is stale" in found


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("parameters", "paremeters", "No cell has the tag `parameters`"),
        ("ex.run(config_updates=config_updates)", "ex.run()", "It never runs the experiment with the configuration"),
        ("ex.run(config_updates", "ex.run((config_updates", "train.ipynb, cell 8:1: This is no Python"),
    ],
)
def test_a_notebook_that_cannot_work(notebook: Path, old: str, new: str, expected: str) -> None:
    replace(notebook / "train.ipynb", old, new)
    assert expected in problems_of(notebook)[0]


def test_a_notebook_that_was_run_makes_no_lock_stale(notebook: Path) -> None:
    content = json.loads((notebook / "train.ipynb").read_text())
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell["execution_count"], cell["outputs"] = 1, [{"output_type": "stream", "name": "stdout", "text": ["x"]}]
    (notebook / "train.ipynb").write_text(json.dumps(content))
    check(notebook)


def test_what_ipython_alone_understands_is_no_mistake(notebook: Path) -> None:
    replace(notebook / "train.ipynb", '"digits.head()"', '"%time digits.head()\\n", "!ls"')
    assert "model.lock.json: It is stale" in problems_of(notebook)[0]


@pytest.mark.parametrize(
    ("suite", "expected"),
    [
        ([], "It is no suite of Great Expectations 1.x"),
        ({"expectations": []}, "name: is missing"),
        ({"name": "a", "expectations": [{"expectation_type": "expect_column_to_exist"}]}, "a version before 1.0"),
        ({"name": "a", "expectations": [{"type": "expect_colum_to_exist"}]}, "Did you mean 'expect_column_to_exist'?"),
        ({"name": "a", "expectations": [{"type": "expect_column_to_exist", "kwargs": []}]}, "kwargs: is no object"),
    ],
)
def test_an_unreadable_suite(houses: Path, suite: object, expected: str) -> None:
    (houses / "expectations/houses.json").write_text(json.dumps(suite))
    (found,) = problems_of(houses)
    assert expected in found


def test_a_suite_of_no_data_set(houses: Path) -> None:
    (houses / "expectations/houses.json").rename(houses / "expectations/housees.json")
    (found,) = problems_of(houses)
    assert "there is no 'housees' in model.yaml" in found
    assert "Did you mean 'houses'?" in found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("[]", "It has no `inputs`"),
        ('{"inputs": {"a": 1}}', "It has no `expected`"),
        ('{"inputs": {"a": 1}, "expected": 1, "tolerance": -1}', "`tolerance` is -1"),
        ('{"inputs": {"a": 1}, "expected": 1, "tolerence": 1}', "unknown key 'tolerence'"),
    ],
)
def test_a_critical_prediction_that_says_nothing(houses: Path, line: str, expected: str) -> None:
    (houses / "critical.jsonl").write_text(f'{{"inputs": {{"a": 1}}, "expected": 1}}\n{line}\n')
    (found,) = problems_of(houses)
    assert found.startswith("critical.jsonl:2: ")
    assert expected in found


@pytest.mark.parametrize("name", ["model.yaml", "train.py", "requirements.txt"])
def test_a_lock_is_stale_when_what_it_was_made_from_changed(houses: Path, name: str) -> None:
    (houses / name).write_text((houses / name).read_text() + "\n# changed\n")
    (found,) = problems_of(houses)
    assert "It is stale" in found
    assert "modelyard lock houses" in found


def test_a_lock_of_another_format(houses: Path) -> None:
    (houses / "model.lock.json").write_text('{"format": 0}')
    (found,) = problems_of(houses)
    assert "another format than 1" in found
