"""Which images a Dockerfile takes from registries."""

from __future__ import annotations

import pytest

from modelyard.dockerfile.named_images import named_images, renamed
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


def test_each_is_written_with_another_name_and_nothing_else_is_changed():
    names = {image: f"other:{number}" for number, image in enumerate(named_images(_ALL, "Dockerfile"))}
    written = renamed(_ALL, names)
    assert named_images(written, "Dockerfile") == ("other:0", "other:1", "other:2", "other:3", "other:4")
    changed = [(one, two) for one, two in zip(_ALL.splitlines(), written.splitlines(), strict=True) if one != two]
    assert [two for _, two in changed] == [
        "#",  # its frontend would be an image more
        "FROM --platform=linux/amd64 other:0 AS build",
        "COPY --from=other:1 /uv /bin/",
        "RUN --mount=type=bind,from=other:2,target=/x --mount=type=cache,target=/c \\",
        "FROM other:3",
        "FROM other:4",
    ]


def test_an_image_whose_stage_has_its_name_is_written_once():
    text = "FROM python AS python\nFROM python\nFROM \\\n  python:3 \\\n  AS last\n"
    written = renamed(text, {"python": "a:1", "python:3": "b:1"})
    assert written == "FROM a:1 AS python\nFROM python\nFROM \\\n  b:1 \\\n  AS last\n"


@pytest.mark.parametrize(
    "arguments",
    ["ARG A=python B=3.11-slim", "ARG A=\"python\" \\\n  B='3.11-slim'", "ARG A=python C\nARG B=3.11-slim D=x"],
)
def test_one_arg_may_declare_several(arguments: str):
    assert named_images(f"{arguments}\nFROM $A:${{B}}\n", "Dockerfile") == ("python:3.11-slim",)


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
        ("ARG A='b\nFROM $A", 1, "ARG A='b cannot be read: No closing quotation."),
    ],
)
def test_a_name_that_is_not_complete_is_refused_with_its_line(dockerfile: str, line: int, message: str):
    with pytest.raises(ProjectError) as refused:
        named_images(dockerfile, "docker/Dockerfile")
    (problem,) = refused.value.problems
    assert (problem.file, problem.line, problem.message) == ("docker/Dockerfile", line, message)
