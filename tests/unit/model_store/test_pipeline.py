import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from airflow.sdk import DAG, BaseOperator, TriggerRule
from airflow.sdk.exceptions import AirflowFailException
from airflow.serialization.serialized_objects import DagSerialization
from tests.unit.model_store.locks import asks_for_approval, lock, write

from model_store.local import LocalStepOperator
from model_store.params import params_of
from model_store.pipeline import broken_dag, model_dag, project_dag, rollback_dag
from model_store.projects import BrokenProject, LockedProject, find

STEPS = ["prepare", "train", "log_to_sacred", "validate", "containerise", "test_image", "push", "deploy"]
DAGS = Path(__file__).parents[3] / "dags"


def locked(tmp_path: Path, **changes: Any) -> LockedProject:
    (found,) = find([write(tmp_path, lock(**changes))])
    assert isinstance(found, LockedProject)
    return found


def serialized(dag: DAG) -> dict[str, Any]:
    """What Airflow keeps of a DAG, after it has checked it."""
    dag.validate()
    kept: dict[str, Any] = json.loads(json.dumps(DagSerialization.to_dict(dag)))["dag"]
    return kept


def test_a_models_dag_runs_the_steps_in_their_order(tmp_path: Path):
    dag = model_dag(locked(tmp_path), LocalStepOperator)
    assert [task.task_id for task in dag.topological_sort()] == STEPS
    assert all(task.trigger_rule == TriggerRule.NONE_FAILED for task in dag.tasks)
    assert all(task.retries == 2 and task.owner == "Data team" for task in dag.tasks)
    assert dag.tags == {"modelyard", "demo"}
    assert dag.owner_links == {"Data team": "mailto:data@example.com"}
    kept = serialized(dag)
    assert [name for name, _ in kept["params"]] == list(params_of(locked(tmp_path)))
    buttons = {task["__var"]["task_id"]: task["__var"].get("_operator_extra_links") for task in kept["tasks"]}
    assert buttons["deploy"] == {"Service": "_link_service", "Model version": "_link_model_version"}


def test_a_person_is_asked_right_before_the_deployment(tmp_path: Path):
    dag = model_dag(locked(tmp_path, deployment=asks_for_approval()), LocalStepOperator)
    assert [task.task_id for task in dag.topological_sort()] == [*STEPS[:-1], "approve", "deploy"]
    serialized(dag)


@pytest.mark.parametrize(
    ("schedule", "kept_as"),
    [
        (None, "NullTimetable"),
        ("0 3 * * *", "CronTriggerTimetable"),
        ({"asset": "s3://bucket/houses.csv"}, "AssetTriggeredTimetable"),
        (
            {
                "timetable": "airflow.sdk.CronTriggerTimetable",
                "arguments": {"expression": "@daily", "timezone": "UTC"},
            },
            "CronTriggerTimetable",
        ),
    ],
)
def test_a_schedule_is_any_that_airflow_takes(tmp_path: Path, schedule: Any, kept_as: str):
    kept = serialized(model_dag(locked(tmp_path, schedule=schedule), LocalStepOperator))
    assert kept["timetable"]["__type"].endswith(kept_as)


def test_each_mode_makes_the_tasks_its_own_way(tmp_path: Path):
    class OtherMode(BaseOperator):
        def __init__(self, *, pipeline_step: Any, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.step = pipeline_step.step

    dag = model_dag(locked(tmp_path), mode=OtherMode)
    assert [type(task) for task in dag.tasks] == [OtherMode] * len(STEPS)


def test_a_broken_project_is_a_dag_that_tells_what_is_wrong():
    dag = broken_dag(BrokenProject("wine", "model.lock.json: no JSON\n  → write it anew"))
    assert "broken" in dag.tags
    kept = serialized(dag)
    assert kept["description"] == "model.lock.json: no JSON"
    with pytest.raises(AirflowFailException, match="write it anew"):
        cast("BaseOperator", dag.get_task("read_project")).execute({})


@pytest.mark.parametrize("timetable", ["no.such.module.Timetable", "airflow.sdk.CronTriggerTimetable"])
def test_a_project_that_airflow_refuses_harms_no_other(tmp_path: Path, timetable: str):
    schedule = {"timetable": timetable, "arguments": {"unknown": 1}}
    dag = project_dag(locked(tmp_path, schedule=schedule), LocalStepOperator)
    assert dag.dag_id == "wine"
    assert "Airflow refuses 'wine'" in serialized(dag)["description"]


def test_the_rollback_knows_every_model_and_environment(tmp_path: Path):
    projects = [locked(tmp_path / "a", name="wine"), locked(tmp_path / "b", name="houses")]
    dag = rollback_dag(projects, {"local": LocalStepOperator}, lambda _: "local")
    assert dag.params.get_param("model").schema["enum"] == ["houses", "wine"]
    assert dag.params.get_param("environment").schema["enum"] == ["production", "staging"]
    assert [task.task_id for task in dag.tasks] == ["rollback"]
    serialized(dag)


def test_a_lock_without_its_environments_takes_the_rollback_from_no_other(tmp_path: Path):
    write(tmp_path / "houses", lock("houses") | {"project": {"name": "houses"}})
    write(tmp_path / "wine", lock("wine"))
    sound = [project for project in find([tmp_path]) if isinstance(project, LockedProject)]
    assert rollback_dag(sound, {"local": LocalStepOperator}, lambda _: "local").params.get_param("model").schema[
        "enum"
    ] == ["wine"]


def test_parsing_loads_neither_the_database_driver_nor_a_project(tmp_path: Path):
    write(tmp_path / "wine", lock("wine"))
    write(tmp_path / "houses", lock("houses"))
    program = f"""
import runpy, sys
dags = runpy.run_path({str(DAGS / "modelyard_projects.py")!r})
print(sorted(name for name, value in dags.items() if type(value).__name__ == "DAG"))
print(sorted({{"pymongo", "sacred", "pandas", "kubernetes", "modelyard.project", "great_expectations"}}
             & set(sys.modules)))
"""
    plugins = str(DAGS.parent / "plugins")
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": plugins,
        "AIRFLOW_HOME": str(tmp_path / "home"),
        "AIRFLOW__MODELYARD__PROJECTS": str(tmp_path),
        "AIRFLOW__CORE__PLUGINS_FOLDER": plugins,
    }
    for wanted, names in ((None, ["houses", "wine"]), ("wine", ["wine"])):
        chosen = {} if wanted is None else {"_AIRFLOW_PARSING_CONTEXT_DAG_ID": wanted}
        result = subprocess.run(
            [sys.executable, "-c", program], env=environment | chosen, capture_output=True, text=True, check=False
        )
        assert result.stdout.splitlines()[-2:] == [str(names), "[]"], result.stderr
