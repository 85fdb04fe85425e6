from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import GateFailed
from modelyard.store.records import DataFingerprint
from modelyard.validation import suites
from modelyard.validation.suites import SuiteResult

HOUSES = "rooms,price,street\n3,100,A\n-4,200,B\n5,,C\n"


def between(column: str, low: float, high: float, **more: Any) -> dict[str, Any]:
    kwargs = {"column": column, "min_value": low, "max_value": high}
    return {"type": "expect_column_values_to_be_between", "kwargs": kwargs, **more}


class Project:
    """A project with data sets and suites, checked as the step does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data: list[DataFingerprint] = []
        self.files: dict[str, Path] = {}
        (folder / "expectations").mkdir()

    def add(self, name: str, content: str, form: str = "csv") -> None:
        self.files[name] = self.folder / f"{name}.{form}"
        self.files[name].write_text(content)
        self.data.append(DataFingerprint(name, "train", f"{name}.{form}", "sha256:0", 1, 3, None, None, form))

    def expect(self, name: str, *expectations: Any) -> None:
        suite = {"name": "any", "expectations": list(expectations)}
        (self.folder / "expectations" / f"{name}.json").write_text(json.dumps(suite))

    def check(self) -> dict[str, SuiteResult]:
        with suites.running(self.folder, self.data, self.files, (), self.folder / "work") as running:
            return {result.data: result for result in running.results()}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dict[str, SuiteResult]]:
    """One run of Great Expectations, which takes seconds to start, on data sets that differ in what is wrong."""
    project = Project(tmp_path_factory.mktemp("project"))
    project.add("good", HOUSES)
    project.expect("good", between("rooms", -10, 10))
    project.add("bad", HOUSES)
    project.expect(
        "bad",
        between("rooms", 0, 10),
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "price"}},
        {"type": "expect_column_to_exist", "kwargs": {"column": "garage"}},
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 100}},
        between("street", 0, 1),
        between("rooms", -10, 10),
    )
    project.add("warned", HOUSES)
    project.expect("warned", between("rooms", 0, 10, severity="warning"))
    project.add("typo", HOUSES)
    project.expect("typo", between("rooms", 0, 10), {"type": "expect_column_to_exists", "kwargs": {"column": "rooms"}})
    project.add("argument", HOUSES)
    project.expect("argument", between("rooms", 0, 10) | {"kwargs": {"columm": "rooms"}})
    project.add("unreadable", "", "jsonl")
    project.files["unreadable"].write_text("{")
    project.expect("unreadable", between("rooms", 0, 10))
    project.add("picture", "", "png")
    project.expect("picture", between("rooms", 0, 10))
    project.add("nothing", HOUSES)
    project.expect("nothing")
    project.add("unchecked", HOUSES)
    project.expect("stranger", between("rooms", 0, 10))
    return project, project.check()


def test_data_that_meet_all_pass(checked: tuple[Project, dict[str, SuiteResult]]) -> None:
    good = checked[1]["good"]
    assert (good.passed, good.expectations, good.met, good.failures) == (True, 1, 1, ())
    assert "unchecked" not in checked[1]


def test_an_unmet_expectation_is_told_in_words(checked: tuple[Project, dict[str, SuiteResult]]) -> None:
    bad = checked[1]["bad"]
    assert (bad.passed, bad.expectations, bad.met) == (False, 6, 1)
    told = "\n".join(failure.told for failure in bad.failures)
    assert "'rooms' values must be greater than or equal to 0" in told
    assert "1 of 3 are not, such as -4 (row 2)" in told
    assert "'price' values must never be null: 1 of 3 are not (row 3)" in told
    assert "'garage' is a required field" in told
    assert "Must have greater than or equal to 100 rows: found 3" in told
    assert "must either be None or of the same type" in told


def test_a_warning_is_told_and_refuses_nothing(checked: tuple[Project, dict[str, SuiteResult]]) -> None:
    warned = checked[1]["warned"]
    assert warned.passed
    (gate,) = suites.gates([warned])
    assert gate.passed
    assert gate.why.startswith("warning: 'rooms'")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("typo", "expectations/typo.json: expectations.1 is not understood: expect_column_to_exists not found"),
        ("argument", "expectations.0 is not understood"),
        ("unreadable", "not readable as jsonl"),
        ("picture", "format 'png' is no table"),
        ("nothing", "holds no expectation"),
        ("stranger", "is named after no data set of this run (there are: good, bad,"),
    ],
)
def test_a_suite_that_cannot_be_run_refuses(
    checked: tuple[Project, dict[str, SuiteResult]], name: str, error: str
) -> None:
    result = checked[1][name]
    assert not result.passed
    assert error in result.error
    (gate,) = suites.gates([result])
    assert (gate.passed, gate.found) == (False, "not run")


def test_data_docs_are_one_page_that_loads_and_runs_nothing(checked: tuple[Project, dict[str, SuiteResult]]) -> None:
    page = (checked[0].folder / "work" / "docs.html").read_text()
    assert page.index('<h1 id="bad">') < page.index('<h1 id="good">') < page.index('<h1 id="warned">')
    assert "garage" in page
    assert "typo" not in page
    assert "default-src 'none'" in page
    assert not re.search(r"<script|<link|<img|url\(", page)
    identifiers = re.findall(r'<(?:div|table|h1) id="?([^" >]+)', page)
    assert len(identifiers) == len(set(identifiers))


def test_nothing_is_written_beside_the_given_folder(checked: tuple[Project, dict[str, SuiteResult]]) -> None:
    project, _ = checked
    outside = {path.name for path in project.folder.iterdir()}
    assert outside == {"expectations", "work", *(path.name for path in project.files.values())}
    assert (project.folder / "work" / "log").read_text() == ""


def test_no_suites_start_no_process(project: Project) -> None:
    project.add("houses", HOUSES)
    with suites.running(project.folder, project.data, project.files, (), project.folder / "work") as running:
        assert running.results() == []
        assert running.docs is None


def test_the_child_has_no_secret_and_ends_with_the_block(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_MONGO_URI", "mongodb://someone:hunter2@host")
    project.add("houses", HOUSES)
    project.expect("houses", between("rooms", 0, 10))
    with suites.running(project.folder, project.data, project.files, (), project.folder / "work") as running:
        assert running._process is not None
        while not (environment := Path(f"/proc/{running._process.pid}/environ").read_bytes()):
            time.sleep(0.01)  # it is becoming another program just now
        assert b"hunter2" not in environment
        assert b"GX_ANALYTICS_ENABLED=False" in environment
        pid = running._process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_child_that_breaks_down_refuses(project: Project) -> None:
    project.add("houses", HOUSES)
    project.expect("houses", between("rooms", 0, 10))
    with suites.running(project.folder, project.data, project.files, (), project.folder / "work") as running:
        assert running._process is not None
        running._process.kill()
        with pytest.raises(GateFailed, match="exit code -9"):
            running.results()
