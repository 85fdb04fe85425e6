import json
import re
from pathlib import Path

import pytest
from tests.unit.model_store.locks import lock, write

from model_store.pipeline import broken_dag
from model_store.projects import BrokenProject, LockedProject, configured_folders, find


def test_a_folder_is_a_project_or_holds_projects(tmp_path: Path):
    write(tmp_path / "many" / "wine", lock("wine"))
    write(tmp_path / "many" / "houses", lock("houses"))
    (tmp_path / "many" / "no-project").mkdir()
    write(tmp_path / "alone", lock("digits"))
    found = list(find([tmp_path / "many", tmp_path / "alone"]))
    assert [project.name for project in found] == ["houses", "wine", "digits"]
    assert isinstance(found[2], LockedProject)
    assert found[2].source == {"folder": str(tmp_path / "alone")}


def test_git_projects_are_listed_in_one_file(tmp_path: Path):
    entry = {"git": "https://git.example.com/wine", "ref": "main", "subfolder": "models", "connection": "git"}
    (tmp_path / "git-projects.json").write_text(json.dumps([{**entry, "lock": lock("wine")}]))
    (found,) = find([tmp_path])
    assert isinstance(found, LockedProject)
    assert found.source == {"git": "https://git.example.com/wine", "ref": "main", "subfolder": "models"}
    assert found.git_conn_id == "git"


def test_a_worker_reads_only_the_project_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / "wine", lock("wine"))
    write(tmp_path / "houses", lock("houses"))
    read: list[str] = []
    real = Path.read_bytes

    def counted(path: Path) -> bytes:
        read.append(path.parent.name)
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    assert [project.name for project in find([tmp_path], wanted="wine")] == ["wine"]
    assert read == ["wine"]


def test_a_worker_finds_a_project_whose_folder_has_another_name(tmp_path: Path):
    write(tmp_path / "team-a", lock("wine"))
    write(tmp_path / "wine", lock("houses"))
    assert [project.name for project in find([tmp_path], wanted="wine")] == ["wine"]
    assert [project.name for project in find([tmp_path], wanted="houses")] == ["houses"]
    assert list(find([tmp_path], wanted="nothing")) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "Expecting property name"),
        (json.dumps(lock() | {"format": 9}), "format 9"),
        (json.dumps({"format": 1, "config": []}), "the key 'project' is missing"),
        ("[]", "list indices"),
        (json.dumps(lock() | {"project": {"name": "wine"}}), "the key 'deployment' is missing"),
        (json.dumps(lock(deployment={"environments": {}})), "no environment to deploy to"),
        (json.dumps(lock() | {"project": lock()["project"] | {"name": None}}), "no name"),
    ],
)
def test_a_lock_that_cannot_be_read_harms_no_other_project(tmp_path: Path, content: str, told: str):
    write(tmp_path / "houses", lock("houses"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.lock.json").write_text(content)
    broken, sound = find([tmp_path])
    assert isinstance(broken, BrokenProject)
    assert broken.name == "broken"
    assert told in broken.error
    assert "modelyard lock" in broken.error
    assert sound.name == "houses"


def test_a_folder_that_does_not_exist_is_told_and_harms_no_other(tmp_path: Path):
    write(tmp_path / "houses", lock("houses"))
    (tmp_path / "file").touch()
    folders = [tmp_path / "no such", tmp_path / "file", tmp_path]
    missing, file, sound = find(folders)
    assert isinstance(missing, BrokenProject)
    assert f"{tmp_path}/no such, which [modelyard] projects names, is no folder that Airflow can read" in missing.error
    assert "AIRFLOW__MODELYARD__PROJECTS" in missing.error
    assert re.fullmatch(r"[A-Za-z0-9_.-]+-no-such-unreadable", missing.name)
    assert file.name.endswith("-file-unreadable")
    assert sound.name == "houses"
    assert list(find(folders, wanted=missing.name)) == [missing]
    assert list(find(folders, wanted="houses")) == [sound]


def test_a_broken_project_in_a_folder_that_is_no_dag_id_gets_a_dag_all_the_same(tmp_path: Path):
    (tmp_path / "my project").mkdir()
    (tmp_path / "my project" / "model.lock.json").write_text("{")
    (broken,) = find([tmp_path])
    assert isinstance(broken, BrokenProject)
    assert broken_dag(broken).dag_id == "my-project"


def test_two_projects_of_one_name_are_told_apart(tmp_path: Path):
    write(tmp_path / "a", lock("wine"))
    write(tmp_path / "b", lock("wine"))
    first, second = find([tmp_path])
    assert isinstance(first, LockedProject)
    assert isinstance(second, BrokenProject)
    assert second.name == "b-duplicate"
    assert str(tmp_path / "a") in second.error


def test_folders_are_separated_by_commas():
    assert configured_folders("/a, /b ", Path("/dags")) == [Path("/a"), Path("/b")]
    assert configured_folders("", Path("/dags")) == [Path("/dags")]
