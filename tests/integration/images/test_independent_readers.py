"""What others make of our layouts: tools that read images, and the JSON schemas that come with the specification."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry
from referencing.jsonschema import DRAFT4
from tests.triple import build, build_for
from tests.unpacking import unpack

from modelyard.images.layout import Layout

SCHEMAS = Path("/usr/share/gocode/src/github.com/opencontainers/image-spec/schema")
MANIFESTS = {
    "application/vnd.oci.image.index.v1+json": "image-index",
    "application/vnd.oci.image.manifest.v1+json": "image-manifest",
    "application/vnd.oci.image.config.v1+json": "config",
}


# By platform, what an ELF file says that it is for: e_machine in elf.h.
MACHINES = {"linux/amd64": 62, "linux/arm64": 183}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A layout with an image, one for two platforms, and something attached to both."""
    folder = tmp_path_factory.mktemp("layout")
    layout = Layout(folder / "images", "gzip")  # Debian's umoci reads no zstd
    image, _ = build(layout, folder)
    layout.push("triple", image, "1")
    index = build_for(layout, folder / "both", *MACHINES)
    layout.push("triple", index, "2")
    for subject in (image.digest, index.digest, *(one.digest for one in index.images)):
        layout.attach("triple", subject, "application/vnd.example", b"attached")
    return layout


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="apt-get install skopeo umoci")
@pytest.mark.skipif(shutil.which("umoci") is None, reason="apt-get install skopeo umoci")
def test_other_tools_read_the_layout_and_unpack_the_same_tree(images: Layout, tmp_path: Path) -> None:
    image = images.pull("triple", "1")

    inspected = json.loads(subprocess.check_output(["skopeo", "inspect", f"oci:{images.path}:triple:1"]))
    assert inspected["Digest"] == image.digest
    # skopeo checks each digest as it copies; umoci wants a layout whose names are plain tags.
    copied = tmp_path / "copied"
    subprocess.run(["skopeo", "copy", "--quiet", f"oci:{images.path}:triple:1", f"oci:{copied}:one"], check=True)
    subprocess.run(["umoci", "unpack", "--rootless", "--image", f"{copied}:one", tmp_path / "bundle"], check=True)
    unpack(image, tmp_path / "ours")

    assert listing(tmp_path / "bundle" / "rootfs") == listing(tmp_path / "ours")


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="apt-get install skopeo umoci")
@pytest.mark.skipif(shutil.which("umoci") is None, reason="apt-get install skopeo umoci")
@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
def test_other_tools_take_their_own_platforms_image_of_an_index(images: Layout, tmp_path: Path, platform: str) -> None:
    index = images.pull_whole("triple", "2")
    inspected = json.loads(subprocess.check_output(["skopeo", "inspect", f"oci:{images.path}:triple:2"]))
    assert inspected["Digest"] == index.digest
    copied, tree = tmp_path / "copied", tmp_path / "ours"
    skopeo = ["skopeo", "--override-arch", platform.partition("/")[2], "copy", "--quiet"]
    subprocess.run([*skopeo, f"oci:{images.path}:triple:2", f"oci:{copied}:one"], check=True)
    subprocess.run(["umoci", "unpack", "--rootless", "--image", f"{copied}:one", tmp_path / "bundle"], check=True)
    unpack(images.pull("triple", "2", platform), tree)

    assert listing(tmp_path / "bundle" / "rootfs") == listing(tree)
    (compiled,) = tree.rglob("_speedups*.so")
    header = compiled.read_bytes()[:20]
    assert header.startswith(b"\x7fELF")
    assert int.from_bytes(header[18:20], "little") == MACHINES[platform]


def listing(folder: Path) -> dict[str, tuple[int, bytes | str | None]]:
    found: dict[str, tuple[int, bytes | str | None]] = {}
    for path in folder.rglob("*"):
        content = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = (path.lstat().st_mode, content)
    return found


@pytest.mark.skipif(not SCHEMAS.is_dir(), reason="apt-get install golang-github-opencontainers-image-spec-dev")
def test_the_layout_is_what_the_specification_says(images: Layout) -> None:
    folder = images.path
    check("image-layout", json.loads((folder / "oci-layout").read_bytes()))
    index = json.loads((folder / "index.json").read_bytes())
    check("image-index", index)
    seen = list(walk(folder, index["manifests"]))

    assert {"image-index", "image-manifest", "config", "blob"} == set(seen)
    with pytest.raises(jsonschema.ValidationError):
        check("image-manifest", {**index, "schemaVersion": 2})


def walk(folder: Path, descriptors: list[dict[str, Any]]) -> Iterator[str]:
    """Check each descriptor, the blob that it names, and what that names; yields what each is."""
    for descriptor in descriptors:
        check("content-descriptor", descriptor)
        data = (folder / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (descriptor["digest"][7:], descriptor["size"])
        kind = MANIFESTS.get(descriptor["mediaType"])
        yield kind or "blob"
        if kind is not None:
            content = json.loads(data)
            check(kind, content)
            named = content.get("manifests", [content["config"], *content["layers"]] if "layers" in content else [])
            yield from walk(folder, named)


def check(schema: str, value: Any) -> None:
    """Validate by one of the specification's schemas."""
    resources = [
        (path.name, DRAFT4.create_resource(_without_ids(json.loads(path.read_bytes()))))
        for path in SCHEMAS.glob("*.json")
    ]
    name = schema if schema == "content-descriptor" else f"{schema}-schema"
    registry: Registry[Any] = Registry().with_resources(resources)
    jsonschema.Draft4Validator({"$ref": f"{name}.json"}, registry=registry).validate(value)


def _without_ids(schema: Any) -> Any:
    """They refer to each other by file name, which their ids would lead astray."""
    if isinstance(schema, dict):
        is_id = isinstance(schema.get("id"), str)
        return {key: _without_ids(value) for key, value in schema.items() if not (is_id and key == "id")}
    return [_without_ids(item) for item in schema] if isinstance(schema, list) else schema
