from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.errors import ProjectError
from modelyard.project import Project, load

SOUND = """\
name: houses
description: What a house costs
owner: {name: Data team, url: "mailto:data@example.com"}
tags: [demo]
schedule: "0 3 * * *"
data:
  houses:      {uri: data/houses.csv, target: price}
  houses-eval: {uri: "https://example.com/eval.csv", target: price, role: evaluation}
validation:
  metrics:
    rmse: {max: 25000, tolerance: 500}
deployment:
  environment: staging
  environments:
    staging: {}
    production: {protected: true, approval: true}
steps: {train: {resources: {cpu: 2, memory: 1Gi}}}
"""


def problems_of(folder: Path, text: str) -> list[str]:
    (folder / "model.yaml").write_text(text)
    with pytest.raises(ProjectError) as caught:
        load(folder)
    return [str(problem) for problem in caught.value.problems]


def test_a_sound_project_is_resolved(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(SOUND)
    (tmp_path / "Pipfile.lock").touch()
    (tmp_path / "critical.jsonl").touch()

    project = load(tmp_path)

    assert project.lock == "Pipfile.lock"
    assert project.validation.critical == "critical.jsonl"
    assert project.entry == "train.py"
    assert project.seed == 42
    assert project.data["houses"].role == "train"
    assert project.steps["train"].resources.cpu == "2"
    assert project.deployment.environments["production"].protected


def test_json_and_back_is_the_same_project(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(SOUND)
    project = load(tmp_path)
    assert Project.model_validate(project.to_json()) == project


def test_every_mistake_is_told_with_line_and_remedy(tmp_path: Path) -> None:
    text = SOUND.replace("description:", "descripton:").replace("houses.csv, target", "houses.csv, tagret")
    text = text.replace("0 3 * * *", "61 3 * * *").replace("1Gi", "1GB").replace("staging: {}", "stage: {}")
    found = problems_of(tmp_path, text)
    assert [problem.split(": ")[:2] for problem in found] == [
        ["model.yaml:2", "descripton"],
        ["model.yaml:5", "schedule"],
        ["model.yaml:7", "data.houses.tagret"],
        ["model.yaml:12", "deployment"],
        ["model.yaml:17", "steps.train.resources.memory"],
    ]
    assert "Did you mean 'description'?" in found[0]
    assert "Did you mean 'target'?" in found[2]
    assert all("\n  → " in problem for problem in found)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("name: Wine", "name: 'Wine' does not have the form"),
        (
            "name: modelyard-rollback",
            "name: 'modelyard-rollback' is reserved: DAGs whose names begin with 'modelyard-'",
        ),
        ("seed: '42'", "seed: should be a valid integer, and is '42'"),
        ("schedule: '@continuous'", "'@continuous' is none of the presets"),
        ("schedule: '0 3 * *'", "it has 4 fields, not five"),
        ("schedule: '0 0 31 2 *'", "is no cron expression"),
        ("schedule: {asset: houses}", "schedule.asset: 'houses' does not have the form"),
        ("schedule: {timetable: Mine}", "'Mine' is no import path of a class"),
        ("entry: ../train.py", "'../train.py' is not a path inside the project's folder"),
        ("entry: train.R", "entry: 'train.R' does not have the form"),
        ("tags: demo", "tags: should be a valid tuple"),
        ("steps: {trains: {defer: true}}", "'trains' is no name that may stand here.\n  → Did you mean 'train'?"),
        ("steps: {train: {resources: {memory: 128m}}}", "'128m' is less than one mebibyte"),
        ("steps: {train: {resources: {cpu: 0.0001}}}", "finer than a thousandth of a core"),
        ("data: {a: {uri: 'ftp://h/a.csv'}}", "'ftp:' cannot be fetched"),
        ("data: {a: {uri: 's3://bucket'}}", "names no bucket and key"),
        ("data: {a: {uri: 'http:///a.csv'}}", "'http:///a.csv' names no host and path"),
        ("data: {a: {uri: 'http://:80/a.csv'}}", "'http://:80/a.csv' names no host and path"),
        ("data: {a: {uri: 'http://h:abc/a.csv'}}", "'http://h:abc/a.csv' has a port that is none"),
        ("data: {a: {uri: 'http://h:65536/a.csv'}}", "'http://h:65536/a.csv' has a port that is none"),
        ("data: {a: {role: train}}", "data.a.uri: is missing"),
        ("data: {A: {uri: a.csv}}", "'A' is no name that may stand here"),
        ("data: {a: {uri: a.csv, role: evaluation}}", "evaluation data without `target`"),
        ("validation: {metrics: {accuracy: {}}}", "it would let everything pass"),
        ("validation: {metrics: {accuracy: {min: 2, max: 1}}}", "nothing can pass"),
        ("validation: {metrics: {accuracy: {min: .nan}}}", "should be a finite number"),
        ("validation: {metrics: {acuracy: {min: 1}}}", "model.yaml:2: validation.metrics.acuracy: 'acuracy'"),
        ("validation: {metrics: {acuracy: {min: 1}}}", "→ Did you mean 'accuracy'?"),
        ("validation: {metrics: {gini: {min: 1}}}", "→ Known here: accuracy, balanced_accuracy, f1,"),
        ("deployment: {environment: prod}", "`environments` has only production"),
        (
            "image: {platforms: [linux/arm]}",
            "image.platforms.0: should be 'linux/amd64' or 'linux/arm64', and is 'linux/arm'",
        ),
        ("image: {platforms: [linux/amd64, linux/amd64]}", "image.platforms: a platform is named twice"),
        ("seed: 1\nseed: 2", "model.yaml:3: seed: is given twice, here and in line 2"),
    ],
)
def test_a_wrong_value_is_refused_in_words(tmp_path: Path, line: str, expected: str) -> None:
    text = line if line.startswith("name") else f"name: wine\n{line}"
    (found,) = problems_of(tmp_path, text)
    assert expected in found
    assert "Error" not in found


def test_an_image_of_a_dockerfile_is_for_one_platform(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:3.11-slim\n")
    (found,) = problems_of(tmp_path, "name: wine\nimage:\n  platforms: [linux/amd64, linux/arm64]\n")
    assert found.startswith("model.yaml:3: image.platforms: Dockerfile is built for one platform")


def test_a_project_that_names_no_platforms_is_locked_as_before_there_were_any(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text("name: wine\n")
    assert "image" not in load(tmp_path).to_json()


def test_a_password_in_an_address_is_not_repeated(tmp_path: Path) -> None:
    (found,) = problems_of(tmp_path, "name: wine\ndata: {a: {uri: 'https://me:hunter2@example.com/a.csv'}}")
    assert "credentials belong into an Airflow connection" in found
    assert "hunter2" not in found
    (found,) = problems_of(tmp_path, "name: wine\ndata: {a: {uri: 'https://example.com:x/a.csv?signature=hunter2'}}")
    assert "'https://example.com:x/a.csv' has a port that is none" in found
    assert "hunter2" not in found


def test_several_lock_files_need_a_choice(tmp_path: Path) -> None:
    (tmp_path / "Pipfile.lock").touch()
    (tmp_path / "requirements.txt").touch()
    (found,) = problems_of(tmp_path, "name: wine")
    assert "There are several lock files: Pipfile.lock, requirements.txt" in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "model.yaml:1: It holds no keys."),
        ("- a", "model.yaml:1: It holds no keys."),
        ("name: wine\n  seed: 1", "model.yaml:2: This is no YAML: mapping values are not allowed here"),
        ("name: !!python/object:os.system x", "model.yaml:1: This is no YAML"),
    ],
)
def test_what_is_no_mapping_is_told(tmp_path: Path, text: str, expected: str) -> None:
    (found,) = problems_of(tmp_path, text)
    assert expected in found


def test_no_model_yaml(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="modelyard new NAME"):
        load(tmp_path)


SCALED = "name: houses\nserving: {{replicas: 2, resources: {resources}, autoscaling: {autoscaling}}}\n"


def test_autoscaling_and_ingress_are_resolved(tmp_path: Path) -> None:
    production = "{target: kubernetes, cluster: eu, ingress: {host: houses.example.com}}"
    text = SCALED.format(resources="{cpu: 1}", autoscaling="{max_replicas: 4}")
    (tmp_path / "model.yaml").write_text(f"{text}deployment: {{environments: {{production: {production}}}}}\n")
    project = load(tmp_path)
    assert project.serving.autoscaling is not None
    assert (project.serving.autoscaling.max_replicas, project.serving.autoscaling.cpu) == (4, 80)
    environment = project.deployment.environments["production"]
    assert environment.cluster == "eu"
    assert environment.ingress is not None
    assert (environment.ingress.host, environment.ingress.path) == ("houses.example.com", "/")
    assert Project.model_validate(project.to_json()) == project


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (SCALED.format(resources="{memory: 1Gi}", autoscaling="{max_replicas: 4}"), "needs `resources.cpu`"),
        (SCALED.format(resources="{cpu: 1}", autoscaling="{max_replicas: 2}"), "is not more than `replicas`"),
        (SCALED.format(resources="{cpu: 1}", autoscaling="{max_replicas: 4, cpu: 0}"), "serving.autoscaling.cpu"),
        (
            "name: houses\ndeployment: {environments: {production: {cluster: eu}}}\n",
            "`cluster` is of `target: kubernetes`",
        ),
        (
            "name: houses\ndeployment: {environments: {production: {target: docker, tracing: {endpoint: 'http://a'}}}}\n",
            "`tracing` is not of `target: docker`",
        ),
        (
            "name: houses\ndeployment: {environments: {production: {target: kubernetes, ingress: {host: 'a b'}}}}\n",
            "ingress.host",
        ),
    ],
)
def test_what_no_cluster_can_do_is_refused(tmp_path: Path, text: str, why: str) -> None:
    problems = problems_of(tmp_path, text)
    assert any(why in problem for problem in problems), problems
