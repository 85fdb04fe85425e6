from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.errors import ImageError
from modelyard.images import base
from modelyard.images.base import pull_base, split_reference
from modelyard.images.image import empty
from modelyard.images.layer import Entry
from modelyard.images.layout import Layout
from modelyard.store import StoreAddress

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


_PYTHON = Entry("usr/local/bin/python3.11", b"interpreter", executable=True)
_DEBIAN_12 = Entry("usr/lib/x86_64-linux-gnu/libc.so.6", b"\0GNU C Library (Debian) stable release version 2.36.\n\0")
_MUSL = Entry("lib/ld-musl-x86_64.so.1", b"\0musl\0")


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ([[_DEBIAN_12]], None),
        ([[Entry("lib64/libc.so.6", "libc-2.28.so")]], None),
        ([[Entry("lib/aarch64-linux-gnu/libc-2.31.so", b"no text at all")]], None),
        ([[_DEBIAN_12, Entry("usr/lib/x86_64-linux-gnu/musl.so", b""), _MUSL]], None),
        ([[Entry("lib64/libc.so.6", "libc-2.17.so")], [Entry("lib64/libc.so.6", "libc-2.34.so")]], None),
        ([[Entry("opt/sysroot/lib64/libc.so.6", "libc-2.17.so")]], None),
        ([[]], None),
        ([[_MUSL]], "has musl as its C library"),
        ([[Entry("lib64/libc.so.6", "libc-2.17.so")]], r"has glibc 2\.17"),
        ([[Entry("lib/x86_64-linux-gnu/libc-2.27.so", b"no text at all")]], r"has glibc 2\.27"),
        ([[Entry("usr/lib64/libc.so.6", b"stable release version 2.26, by")]], r"has glibc 2\.26"),
    ],
)
def test_a_base_whose_c_library_could_not_load_the_packages_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layers: list[list[Entry]], why: str | None
) -> None:
    images = Layout(tmp_path / "images")
    image = empty("amd64").append([images.pack([_PYTHON, *entries]) for entries in layers], {}, {})
    monkeypatch.setattr(base, "pull_image", lambda *_: image)
    address = StoreAddress("mongodb://unused", "file:///unused", "oci:/unused")
    for _ in range(2):  # the second time it is known
        if why is None:
            assert pull_base("team/python:1", images, address, tmp_path).interpreter.python == "3.11"
        else:
            with pytest.raises(ImageError, match=f"team/python:1 {why}, .* are for glibc 2.28 or newer"):
                pull_base("team/python:1", images, address, tmp_path)
