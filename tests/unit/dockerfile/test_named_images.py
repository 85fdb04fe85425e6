"""Which images a Dockerfile takes from registries."""

from __future__ import annotations

import pytest

from modelyard.dockerfile.named_images import named_images
from modelyard.errors import ProjectError

_ALL = """\
# syntax=docker/dockerfile:1
ARG PYTHON=3.11
ARG BASE="python:${PYTHON}-slim"
FROM --platform=linux/amd64 $BASE AS build
ARG LATER=1
COPY --from=ghcr.io/astral-sh/uv:0.5.1 /uv /bin/
RUN --mount=type=bind,from=alpine:3,target=/x --mount=type=cache,target=/c \\
    # a comment in between
    true
RUN python <<END
from numpy import *
FROM nowhere
END
from build as more
COPY --from=0 /a /a
COPY --chown=1:1 --from=build /b /b
FROM scratch
COPY --from=more / /
FROM registry.example.com:5000/team/base@sha256:0123
FROM ${UNSET:-debian:12}
"""


def test_all_of_them_are_found_each_once_and_nothing_else():
    assert named_images(_ALL, "Dockerfile") == (
        "python:3.11-slim",
        "ghcr.io/astral-sh/uv:0.5.1",
        "alpine:3",
        "registry.example.com:5000/team/base@sha256:0123",
        "debian:12",
    )


def test_another_escape_is_followed():
    assert named_images("# escape=`\nFROM `\n  python:3\nRUN dir c:\\\nFROM debian", "Dockerfile") == (
        "python:3",
        "debian",
    )


@pytest.mark.parametrize(
    ("dockerfile", "line", "message"),
    [
        ("ARG BASE\nFROM $BASE", 2, "'$BASE' names no image: BASE has no value."),
        ("FROM a\n\nCOPY --from=b:${TAG} / /", 3, "'b:${TAG}' names no image: TAG has no value."),
        ("RUN true", 1, "It has no FROM."),
    ],
)
def test_a_name_that_is_not_complete_is_refused_with_its_line(dockerfile: str, line: int, message: str):
    with pytest.raises(ProjectError) as refused:
        named_images(dockerfile, "docker/Dockerfile")
    (problem,) = refused.value.problems
    assert (problem.file, problem.line, problem.message) == ("docker/Dockerfile", line, message)
