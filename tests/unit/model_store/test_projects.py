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


def test_scheduler_and_worker_agree_whose_a_name_is(tmp_path: Path):
    write(tmp_path / "a" / "before", lock("wine"))
    write(tmp_path / "b" / "wine", lock("wine"))
    write(tmp_path / "b" / "wine-duplicate", lock("wine"))
    write(tmp_path / "c" / "before", lock("wine"))
    (tmp_path / "wine").mkdir()
    entry = {"git": "https://git.example.com/wine", "lock": lock("wine")}
    (tmp_path / "wine" / "git-projects.json").write_text(json.dumps([entry]))
    folders = [tmp_path / name for name in ("wine", "a", "b", "c")]
    found = list(find(folders))
    assert [project.name for project in found] == [
        "wine-duplicate",
        "before-duplicate",
        "wine",
        "wine-duplicate-duplicate",
        "before-duplicate-too",
    ]
    assert isinstance(found[2], LockedProject)
    assert found[2].source == {"folder": str(tmp_path / "b" / "wine")}
    for project in found:
        assert list(find(folders, wanted=project.name)) == [project]


def test_a_name_is_a_projects_that_can_be_read(tmp_path: Path):
    sound = write(tmp_path / "team-a", lock("wine"))
    write(tmp_path / "wine", lock("wine") | {"format": 9})
    project, broken = find([tmp_path])
    assert isinstance(project, LockedProject)
    assert project.source == {"folder": str(sound)}
    assert isinstance(broken, BrokenProject)
    assert broken.name == "wine-duplicate"
    assert "format 9" in broken.error
    assert list(find([tmp_path], wanted="wine")) == [project]
    assert list(find([tmp_path], wanted="wine-duplicate")) == [broken]


def test_an_entry_of_git_projects_that_cannot_be_read_harms_no_other(tmp_path: Path):
    entry = {"git": "https://git.example.com/wine", "lock": lock("wine")}
    entries = [{"git": "https://git.example.com/x"}, entry, {**entry, "lock": {"format": 1, "project": {}}}]
    (tmp_path / "git-projects.json").write_text(json.dumps(entries))
    first, sound, third = find([tmp_path])
    assert isinstance(first, BrokenProject)
    assert "git-projects.json, entry 1: the key 'lock' is missing" in first.error
    assert sound.name == "wine"
    assert isinstance(third, BrokenProject)
    assert third.name.endswith("-git-projects-3")
    assert "the key 'name' is missing" in third.error


def test_folders_are_separated_by_commas():
    assert configured_folders("/a, /b ", Path("/dags")) == [Path("/a"), Path("/b")]
    assert configured_folders("", Path("/dags")) == [Path("/dags")]
