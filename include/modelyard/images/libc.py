"""The C library that packages in images are for: one floor, whatever machine installs them and whatever it has itself.

A wheel says what glibc it needs at least. Without a floor the builder's own would choose: the same lock would be other
packages on another distribution, and on an older base some that cannot be loaded.
"""

from __future__ import annotations

import platform
import re

FLOOR = (2, 28)  # of 2018: what Debian 10, RHEL 8 and all newer ones have, and what most wheels are made for
GLIBC = f"glibc{FLOOR[0]}.{FLOOR[1]}"
# What uv calls the platforms with it; on another one, which has no images of ours, uv asks the machine.
TARGETS = {
    "linux/amd64": f"x86_64-manylinux_{FLOOR[0]}_{FLOOR[1]}",
    "linux/arm64": f"aarch64-manylinux_{FLOOR[0]}_{FLOOR[1]}",
}
MUSL = "musl"

_IN_AN_IMAGE = re.compile(r"(?:usr/)?lib(?:64|/[\w-]+-linux-gnu\w*)?/(?:libc\.so\.6|libc-2\.\d+\.so)")
_IN_ALPINE = re.compile(r"(?:usr/)?lib/ld-musl-\w+\.so\.1")
_NAMED = re.compile(rb"libc-(2\.\d+)\.so")
_SAYS = re.compile(rb"stable release version (2\.\d+)")


def is_libc(path: str) -> bool:
    """Whether a file of an image, by its path without a leading slash, tells which C library the image has."""
    return _IN_AN_IMAGE.fullmatch(path) is not None or _IN_ALPINE.fullmatch(path) is not None


def libc_in(path: str, content: bytes) -> str:
    """Return what such a file tells: ``musl``, a version of glibc, or "" where it tells nothing.

    Args:
        path: of the file.
        content: of the file, or what it links to.
    """
    if _IN_ALPINE.fullmatch(path):
        return MUSL
    found = _SAYS.search(content) or _NAMED.search(content) or _NAMED.search(path.encode())
    return "" if found is None else found[1].decode()


def of_this_machine() -> str:
    """Return the same of this machine's interpreter."""
    name, version = platform.libc_ver()
    return version if name == "glibc" else MUSL  # which says nothing of itself


def why_not(libc: str) -> str | None:
    """Return why packages for the floor cannot be loaded by a C library; None when they can, or nothing is known."""
    if libc == MUSL:
        return "has musl as its C library"
    if libc and tuple(map(int, libc.split(".")[:2])) < FLOOR:
        return f"has glibc {libc}"
    return None
