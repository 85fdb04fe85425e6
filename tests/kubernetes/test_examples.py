"""The examples through Airflow to Services that answer, every step a pod; again; and a laptop's candidate."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from dulwich import porcelain
from tests.kubernetes.conftest import Yard
from tests.kubernetes.ground import CONNECTION, LOGIN, Ground
from tests.laptop import Laptop
from tests.yard import EXAMPLES, commit

from modelyard.demo.rest import AirflowApi
from modelyard.demo.show import failures
from modelyard.project import load
from modelyard.project.lock import LOCKED_FILE, locked, read_lock, write_json
from modelyard.project.write_lock import write_git_entry
from modelyard.steps import plan
from modelyard.store import Store

NAMES = ("wine", "digits-notebook", "houses")
STEPS = [step.name for step in plan.STEPS]


@pytest.fixture(scope="module")
def examples(ground: Ground, yard: Yard) -> dict[str, Path]:
    """Each example in a repository of the Git server, to be deployed to the cluster."""
    found = {}
    for name in NAMES:
        folder = shutil.copytree(EXAMPLES / name, ground.repositories / name)
        with (folder / "model.yaml").open("a") as model_yaml:
            yaml.safe_dump({"deployment": {"environments": {"production": ground.target}}}, model_yaml)
        # What its experiment can be given is as it was: no environment has to be built to ask it.
        write_json(folder / LOCKED_FILE, locked(load(folder), folder, read_lock(folder)["config"]))
        porcelain.init(folder)
        commit(folder)
        write_git_entry(yard.projects, ground.source(name), CONNECTION, LOGIN)
        found[name] = folder
    return found


@dataclass(frozen=True)
class Ran:
    """A run that ended well.

    Attributes:
        left: what each task that ran left as its XCom, in their order.
    """

    id: str
    left: dict[str, dict[str, Any]]


def run(api: AirflowApi, *models: str, **conf: Any) -> dict[str, Ran]:
    """Run these models' DAGs at the same time to their good ends."""
    for model in models:
        api.wait_for_dag(model)
    started = {model: api.trigger(model, conf) for model in models}
    found = {}
    for model, run_id in started.items():
        assert api.wait(model, run_id) == "success", (model, failures(api, model, run_id))
        tasks = [task for task in api.tasks(model, run_id) if task.state == "success"]
        print(model, *(f"{task.task_id} {task.seconds:.1f}" for task in tasks if task.seconds), sep="  ")
        found[model] = Ran(run_id, {task.task_id: api.xcom(model, run_id, task.task_id) for task in tasks})
    return found


@pytest.fixture(scope="module")
def first(yard: Yard, examples: dict[str, Path]) -> dict[str, Ran]:
    with yard.machine.api() as api:
        return run(api, *examples)


def assert_serves(yard: Yard, model: str, version: int) -> None:
    """Assert that the model's Service answers the golden rows of this version as the model did at training."""
    with Store.open(yard.ground.store) as store:
        described = store.versions.get(model, version).file("modelyard.json")
        golden = store.artifacts.read_json(described.digest)["golden"]
    rows = golden["inputs"]
    answer = yard.ask({"rows": rows}, model)
    assert answer["model_version"] == str(version)
    assert [row["prediction"] for row in answer["predictions"]] == pytest.approx(golden["outputs"]["prediction"])


@pytest.mark.parametrize("model", NAMES)
def test_an_example_ends_in_a_service_that_answers(
    yard: Yard, api: AirflowApi, first: dict[str, Ran], model: str
) -> None:
    assert list(first[model].left) == STEPS
    tasks = api.get(f"/dags/{model}/tasks")["tasks"]
    assert {task["class_ref"]["class_name"] for task in tasks} == {"KubernetesStepOperator"}
    assert_serves(yard, model, 1)


def test_the_same_again_is_the_same_image_on_the_same_environment(
    yard: Yard, api: AirflowApi, first: dict[str, Ran]
) -> None:
    again = run(api, *NAMES)
    for model in NAMES:
        before, after = first[model].left, again[model].left
        assert after["containerise"]["image_digest"] == before["containerise"]["image_digest"]
        assert after["prepare"]["environment_image"] == before["prepare"]["environment_image"]
        said = [record["event"] for record in api.log(model, again[model].id, "prepare", 1)]
        assert {line.partition(" (")[0] for line in said if "built" in line} == {
            "The environment is built already",
            "The environment image is built already",
        }
        assert_serves(yard, model, 2)


def test_a_laptops_candidate_is_released_to_the_cluster(
    yard: Yard, api: AirflowApi, first: dict[str, Ran], examples: dict[str, Path], tmp_path: Path
) -> None:
    clone = shutil.copytree(examples["wine"], tmp_path / "clone")
    said = Laptop.made(yard.ground.store, clone, "Pipfile.lock", tmp_path).train("C=0.5", "seed=42")
    version = int(said.rpartition("candidate wine:")[2])
    released = run(api, "wine", version=version)["wine"].left
    assert list(released) == [step for step in STEPS if step not in ("train", "log_to_sacred")]
    assert released["deploy"]["version"] == version
    assert released["prepare"]["environment_image"] == first["wine"].left["prepare"]["environment_image"]
    assert_serves(yard, "wine", version)
