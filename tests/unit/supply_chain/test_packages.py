"""What is installed in an image, by the databases in its layers."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import ImageError
from modelyard.images import ImageStore
from modelyard.images.compression import compressing
from modelyard.images.image import Image, digest_of, empty
from modelyard.images.layer import Entry, Kind, Layer
from modelyard.images.layout import Layout
from modelyard.supply_chain import packages
from modelyard.supply_chain.packages import Contents, Package, packages_of

DEBIAN = b"""\
Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc (2.36-9)
Version: 2.36-9+deb12u7
Description: GNU C Library: Shared libraries
 Version: that of a line that goes on
 .
 Package: not one

Package: removed
Status: deinstall ok config-files
Version: 1

Package: never
Status: unknown ok not-installed

Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2
"""
DISTROLESS = b"Package: tzdata\nVersion: 2026a-1\nArchitecture: all\n"
ALPINE = b"""\
C:Q1abc=
P:musl
V:1.2.5-r0
A:x86_64
L:MIT
o:musl
F:lib
R:ld-musl-x86_64.so.1

P:musl-utils
V:1.2.5-r0
A:x86_64
L:MIT AND BSD-2-Clause
o:musl
"""
SIX = b"Metadata-Version: 2.1\nName: Six_Pack\nVersion: 1.17.0\nLicense: MIT\n\nName: of the description\n"
LONG = b"Metadata-Version: 2.1\nName: long\nVersion: 2\nLicense: " + b"x" * 900 + b"\n\n"

LIBC = Package("deb", "libc6", "2.36-9+deb12u7", "amd64", "glibc@2.36-9")
BASH = Package("deb", "bash", "5.2", "amd64")


@pytest.fixture
def images(tmp_path: Path) -> ImageStore:
    return Layout(tmp_path / "images")


def image_of(images: ImageStore, *layers: Mapping[str, bytes | str], kinds: tuple[Kind | None, ...] = ()) -> Image:
    packed = [
        images.pack([Entry(path, content) for path, content in layer.items()], kind)
        for layer, kind in zip(layers, (*kinds, *(None for _ in layers)), strict=False)
    ]
    image = empty("amd64").append(packed, {}, {})
    images.push("base", image)
    return image


def test_debian_alpine_and_python_are_read(images: ImageStore):
    image = image_of(
        images,
        {
            "var/lib/dpkg/status": DEBIAN,
            "var/lib/dpkg/status.d/tzdata": DISTROLESS,
            "var/lib/dpkg/status.d/tzdata.md5sums": b"Package: none\nVersion: 1\n",
            "lib/apk/db/installed": ALPINE,
            "etc/os-release": "../usr/lib/os-release",
            "usr/lib/os-release": b'NAME="Debian"\nID=debian\nVERSION_ID="12"\n',
            "usr/share/doc/status": DEBIAN,
        },
        {
            "opt/modelyard/server/lib/python3.11/site-packages/six_pack-1.17.0.dist-info/METADATA": SIX,
            "opt/modelyard/environment/lib/python3.11/site-packages/six_pack-1.17.0.dist-info/METADATA": SIX,
            "usr/lib/python3/dist-packages/long-2.egg-info": LONG,
            "usr/lib/python3/dist-packages/none-2.egg-info/top_level.txt": SIX,
        },
    )
    assert packages_of(image, images) == Contents(
        packages={
            Package("apk", "musl", "1.2.5-r0", "x86_64", None, "MIT"): ("lib/apk/db/installed",),
            Package("apk", "musl-utils", "1.2.5-r0", "x86_64", "musl", "MIT AND BSD-2-Clause"): (
                "lib/apk/db/installed",
            ),
            Package("pypi", "six-pack", "1.17.0", license="MIT"): (
                "opt/modelyard/environment/lib/python3.11/site-packages/six_pack-1.17.0.dist-info/METADATA",
                "opt/modelyard/server/lib/python3.11/site-packages/six_pack-1.17.0.dist-info/METADATA",
            ),
            Package("pypi", "long", "2"): ("usr/lib/python3/dist-packages/long-2.egg-info",),
            LIBC: ("var/lib/dpkg/status",),
            BASH: ("var/lib/dpkg/status",),
            Package("deb", "tzdata", "2026a-1", "all"): ("var/lib/dpkg/status.d/tzdata",),
        },
        system="debian-12",
        unread=(),
    )


def test_a_layer_hides_what_is_below_it(images: ImageStore):
    site = "usr/lib/python3/site-packages"
    below = {
        "var/lib/dpkg/status": DEBIAN,
        f"{site}/six_pack-1.17.0.dist-info/METADATA": SIX,
        f"{site}/six_pack-1.17.0.dist-info2/METADATA": SIX,
        "lib/apk/db/installed": ALPINE,
        "opt/old/long-2.dist-info/METADATA": LONG,
    }
    above: dict[str, bytes | str] = {
        "var/lib/dpkg/status": DEBIAN.partition(b"\n\n")[0],  # without bash
        f"{site}/.wh.six_pack-1.17.0.dist-info": b"",
        "lib/apk/.wh..wh..opq": b"",
        "opt/.wh.old": b"",
        "opt/new/long-2.dist-info/METADATA": LONG,
    }
    found = packages_of(image_of(images, below, above), images).packages
    assert found == {
        LIBC: ("var/lib/dpkg/status",),
        Package("pypi", "long", "2"): ("opt/new/long-2.dist-info/METADATA",),
    }
    assert set(packages_of(image_of(images, above, below), images).packages) > {LIBC, BASH}, "order counts"


def test_what_a_project_and_a_model_bring_is_not_installed(images: ImageStore):
    found = {f"{name}/six_pack-1.17.0.dist-info/METADATA": SIX for name in ("one",)}
    image = image_of(images, found, found, found, kinds=("project", "model", "interpreter"))
    assert packages_of(image, images).packages == {}


def test_a_database_that_cannot_be_read_is_told(images: ImageStore):
    image = image_of(
        images, {"var/lib/rpm/rpmdb.sqlite": b"SQLite format 3"}, {"usr/lib/sysimage/rpm/Packages.db": b"x"}
    )
    assert packages_of(image, images).unread == ("usr/lib/sysimage/rpm/Packages.db", "var/lib/rpm/rpmdb.sqlite")


def test_each_layer_is_read_once(images: ImageStore, monkeypatch: pytest.MonkeyPatch):
    first = packages_of(image_of(images, {"var/lib/dpkg/status": DEBIAN}), images)
    read: list[Layer] = []
    reading = packages._read

    def noting(layer: Layer) -> Any:
        read.append(layer)
        return reading(layer)

    monkeypatch.setattr(packages, "_read", noting)
    again = image_of(images, {"var/lib/dpkg/status": DEBIAN}, {"one/six_pack-1.17.0.dist-info/METADATA": SIX})
    assert set(packages_of(again, images).packages) == {
        *first.packages,
        Package("pypi", "six-pack", "1.17.0", license="MIT"),
    }
    assert [layer.diff_id for layer in read] == [again.layers[1].diff_id]


def test_what_was_kept_and_is_deleted_meanwhile_is_read_again(images: ImageStore, monkeypatch: pytest.MonkeyPatch):
    image = image_of(images, {"var/lib/dpkg/status": DEBIAN})
    first = packages_of(image, images)
    resolve = images.resolve

    def deleting(repository: str, tag: str) -> str | None:
        digest = resolve(repository, tag)
        assert digest is not None
        images.delete(repository, digest, lambda: None)
        return digest

    monkeypatch.setattr(images, "resolve", deleting)
    assert packages_of(image, images) == first
    monkeypatch.undo()
    assert packages_of(image, images) == first


def tar_of(member: tarfile.TarInfo, after: bytes = b"") -> bytes:
    plain, packed = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        tar.addfile(member, io.BytesIO(b"\0" * member.size))
    with compressing(packed, "gzip") as stream:
        stream.write(plain.getvalue() + after)
    return packed.getvalue()


def layer_of(data: bytes, claimed: bytes) -> Image:
    layer = Layer(
        digest_of(claimed),
        digest_of(claimed),
        len(data),
        "application/vnd.oci.image.layer.v1.tar+gzip",
        lambda: io.BytesIO(data),
    )
    return empty("amd64").append([layer], {}, {})


def test_a_layer_with_other_bytes_than_it_claims_is_refused(images: ImageStore):
    data = tar_of(tarfile.TarInfo("file"), after=b"what comes after the end of a tar")
    with pytest.raises(ImageError, match="was read as"):
        packages_of(layer_of(data, data[:-1]), images)
    assert packages_of(layer_of(data, data), images).packages == {}


def test_a_database_that_would_fill_the_memory_is_refused(images: ImageStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packages, "_MOST", 1 << 10)
    huge = tarfile.TarInfo("./var/lib/dpkg/status")
    huge.size = (1 << 10) + 1
    data = tar_of(huge)
    with pytest.raises(ImageError, match=r"var/lib/dpkg/status in layer sha256:\w+ has 1025 bytes"):
        packages_of(layer_of(data, data), images)
