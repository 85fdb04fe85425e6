"""What .dockerignore leaves out."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from modelyard.dockerfile.ignored import ignoring
from modelyard.errors import ProjectError


@pytest.mark.parametrize(
    ("rules", "left_out", "left_in"),
    [
        ("", [], ["train.py", "a/b"]),
        ("# all\n*\n!requirements.txt", ["train.py", "data/x.csv", ".git/config"], ["requirements.txt"]),
        ("data", ["data/x.csv", "data/deep/y"], ["mydata/x", "a/data/x.csv", "data2"]),
        ("/data/*.csv\n", ["data/x.csv"], ["data/deep/x.csv", "data/x.json"]),
        ("**/*.pyc", ["a.pyc", "deep/er/b.pyc"], ["a.py"]),
        ("docs/**\n!docs/keep", ["docs/a", "docs/b/c"], ["docs/keep", "docs/keep/d"]),
        ("a?.t[xy]t", ["ab.txt", "ab.tyt"], ["a.txt", "ab.tzt", "a/.txt"]),
        ("keep\n!keep\nkeep/not", ["keep/not"], ["keep/a"]),
        ("a.b", ["a.b"], ["axb"]),
    ],
)
def test_the_last_pattern_that_matches_a_file_or_a_folder_above_it_counts(
    rules: str, left_out: list[str], left_in: list[str]
):
    is_ignored = ignoring(rules)
    assert [path for path in left_out + left_in if is_ignored(PurePosixPath(path))] == left_out


def test_a_line_that_is_no_pattern_is_named():
    with pytest.raises(ProjectError) as refused:
        ignoring("data\n[z-a].csv\n")
    (problem,) = refused.value.problems
    assert (problem.file, problem.line) == (".dockerignore", 2)
    assert problem.message.startswith("'[z-a].csv' is no pattern: bad character range z-a")
