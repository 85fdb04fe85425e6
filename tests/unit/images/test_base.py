from __future__ import annotations

import pytest

from modelyard.images.base import split_reference

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("python", ("registry-1.docker.io", "library/python", "latest")),
        ("python:3.11-slim", ("registry-1.docker.io", "library/python", "3.11-slim")),
        ("docker.io/library/python:3", ("registry-1.docker.io", "library/python", "3")),
        ("team/base", ("registry-1.docker.io", "team/base", "latest")),
        ("localhost/base:1", ("localhost", "base", "1")),
        ("host:5000/team/base", ("host:5000", "team/base", "latest")),
        ("host:5000/base:1", ("host:5000", "base", "1")),
        (f"ghcr.io/a/b/c@{DIGEST}", ("ghcr.io", "a/b/c", DIGEST)),
        (f"ghcr.io/a/b:1@{DIGEST}", ("ghcr.io", "a/b", DIGEST)),
    ],
)
def test_names_are_read_as_docker_reads_them(name: str, expected: tuple[str, str, str]) -> None:
    assert split_reference(name) == expected
