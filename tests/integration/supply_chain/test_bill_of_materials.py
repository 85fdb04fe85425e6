"""An image's bill of materials, held to CycloneDX's own schema and to what Syft finds in the same image."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from modelyard.environments import Pin
from modelyard.images.image import Image, empty
from modelyard.images.layer import Entry
from modelyard.images.layout import Layout
from modelyard.supply_chain.bom import bill_of_materials
from modelyard.supply_chain.packages import packages_of

HASH = "cd" * 32
DIGEST = "sha256:" + "ab" * 32
PINS = (Pin("pytest", "0"), Pin("six-pack", "1.17.0", hashes=(f"sha256:{HASH}",)))
ENVIRONMENT = "opt/modelyard/environment/lib/python3.11/site-packages"
ALPINE = b"P:musl-utils\nV:1.2.5-r0\nA:x86_64\nL:MIT AND BSD-2-Clause\no:musl\n\n"
DEBIAN = b"Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc\nVersion: 2.36-9+deb12u7\n"
BOOKWORM = b"ID=debian\nVERSION_ID=12\n"


def made(images: Layout, dpkg: bytes, system: bytes, python: dict[str, bytes]) -> Image:
    """An image with these databases, and what a model image has beside."""
    base = [Entry("var/lib/dpkg/status", dpkg), Entry("usr/lib/os-release", system)]
    base += [Entry("etc/os-release", "../usr/lib/os-release"), Entry("lib/apk/db/installed", ALPINE)]
    config = {"Env": ["PYTHON_VERSION=3.11.9"], "Labels": {"io.modelyard.model": DIGEST}}
    layers = [
        images.pack(base),
        images.pack([Entry(f"{ENVIRONMENT}/{name}", content) for name, content in python.items()], "environment"),
    ]
    image = empty("amd64").append(layers, config, {}, "2026-01-02T03:04:05Z")
    images.push("wine", image, "1")
    return image


@pytest.fixture
def images(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "images", "gzip")


@pytest.fixture
def read(tmp_path: Path) -> Layout:
    """Where what was read is kept; Syft wants a folder with one image."""
    return Layout(tmp_path / "read")


def bill(image: Image, read: Layout) -> bytes:
    return bill_of_materials(image, "wine", packages_of(image, read), PINS)


def test_it_says_what_the_image_holds_and_is_the_same_each_time(images: Layout, read: Layout) -> None:
    six = {"six_pack-1.17.0.dist-info/METADATA": b"Name: six_pack\nVersion: 1.17.0\nLicense: MIT\n\n"}
    image = made(images, DEBIAN, BOOKWORM, six)
    text = bill(image, read)
    assert text == bill(image, read)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text.decode()) is None

    document = json.loads(text)
    assert (document["specVersion"], document["metadata"]["timestamp"]) == ("1.6", "2026-01-02T03:04:05+00:00")
    whole = document["metadata"]["component"]
    assert (whole["type"], whole["name"], whole["version"]) == ("container", "wine", image.digest)
    parts = {part["bom-ref"]: part for part in document["components"]}
    assert {
        "pkg:generic/python@3.11.9",
        f"model@{DIGEST}",
        "pkg:pypi/six-pack@1.17.0",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u7?arch=amd64&distro=debian-12&upstream=glibc",
    } < parts.keys()
    package = parts["pkg:pypi/six-pack@1.17.0"]
    assert package["licenses"] == [{"license": {"id": "MIT"}}]
    assert package["externalReferences"][0]["hashes"] == [{"alg": "SHA-256", "content": HASH}]
    (place,) = package["evidence"]["occurrences"]
    assert place["location"] == f"/{ENVIRONMENT}/six_pack-1.17.0.dist-info/METADATA"
    model = parts[f"model@{DIGEST}"]
    assert (model["type"], model["hashes"]) == (
        "machine-learning-model",
        [{"alg": "SHA-256", "content": DIGEST.removeprefix("sha256:")}],
    )
    (depends,) = [one for one in document["dependencies"] if one["ref"] == image.digest]
    assert set(depends["dependsOn"]) == set(parts)


def test_syft_finds_the_same_packages(images: Layout, read: Layout, tmp_path: Path) -> None:
    """In an image with the packages of this machine: its system's, where that is Debian, and this environment's."""
    dpkg, system = Path("/var/lib/dpkg/status"), Path("/etc/os-release")
    has_dpkg = dpkg.exists()
    python: dict[str, bytes] = {}
    for one in distributions():
        if (metadata := one.read_text("METADATA")) is not None:
            name = f"{one.metadata['Name'].replace('-', '_')}-{one.version}.dist-info/METADATA"
            python[name] = metadata.encode(errors="surrogateescape")
    image = made(
        images, dpkg.read_bytes() if has_dpkg else DEBIAN, system.read_bytes() if has_dpkg else BOOKWORM, python
    )
    text = bill(image, read)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text.decode()) is None
    ours = {part["purl"] for part in json.loads(text)["components"] if "purl" in part}

    syft = str(Path(sys.executable).with_name("syft"))
    command = [syft, "scan", f"oci-dir:{images.path}", "--output", "cyclonedx-json"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "SYFT_CHECK_FOR_APP_UPDATE": "false"}
    scanned = subprocess.run(command, env=environment, check=True, capture_output=True)
    syfts = {part["purl"] for part in json.loads(scanned.stdout)["components"] if "purl" in part}

    print(f"{len(ours)} packages")
    assert len(ours) > 100
    of_the_image = {"pkg:generic/python@3.11.9"}  # by its configuration: of an interpreter, this image has no file
    assert {plain(url) for url in ours - of_the_image} == {plain(url) for url in syfts}


def plain(url: str) -> Any:
    """What a package URL says; in the form of qualifiers and escapes there is some freedom."""
    from packageurl import PackageURL

    found = PackageURL.from_string(url)
    name = found.name.lower().replace(".", "-").replace("_", "-") if found.type == "pypi" else found.name
    return found.type, found.namespace, name, found.version, tuple(sorted(dict(found.qualifiers).items()))
