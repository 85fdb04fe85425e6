from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest
from tests.unpacking import unpack

from modelyard.errors import ImageError
from modelyard.images.image import Image, empty
from modelyard.images.layer import Digesting, Entry, Layer
from modelyard.images.layout import Layout
from modelyard.images.unpack import unpack_model_image

SITE = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


def image_of(*layers: Layer) -> Image:
    return empty("amd64").append(layers, {}, {})


def raw_layer(*members: tarfile.TarInfo) -> Layer:
    buffer, digesting = io.BytesIO(), Digesting()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    digesting.write(buffer.getvalue())
    return Layer(
        digesting.digest,
        digesting.digest,
        digesting.size,
        "application/vnd.oci.image.layer.v1.tar",
        lambda: io.BytesIO(buffer.getvalue()),
    )


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "images")


def test_upper_layers_replace_and_remove_what_is_below(layout: Layout, tmp_path: Path) -> None:
    below = layout.pack([Entry("a", b"1"), Entry("b/c", b"2"), Entry("b/d", b"3"), Entry("e/f", b"4"), Entry("g", "a")])
    above = layout.pack(
        [
            Entry("a/now/a/folder", b"5"),
            Entry("b/.wh.c", b""),
            Entry("e/.wh..wh..opq", b""),
            Entry("g", b"6"),
            Entry("e/.cache", b"7"),
        ]
    )

    unpack(image_of(below, above), tmp_path / "tree")

    found = {
        str(path.relative_to(tmp_path / "tree")): path.read_bytes()
        for path in (tmp_path / "tree").rglob("*")
        if path.is_file()
    }
    assert found == {"a/now/a/folder": b"5", "b/d": b"3", "e/.cache": b"7", "g": b"6"}


@pytest.mark.parametrize(
    "members",
    [
        [member("../outside")],
        [member("link", tarfile.SYMTYPE, "../.."), member("link/outside")],
        [member("link", tarfile.SYMTYPE, "/tmp"), member("link/outside")],
        [member("null", tarfile.CHRTYPE)],
        [member("..")],
        [member("hard", tarfile.LNKTYPE, "..")],
        [member("hard", tarfile.LNKTYPE, "../../outside")],
    ],
)
def test_a_layer_cannot_reach_out_of_its_folder(members: list[tarfile.TarInfo], tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="does not stay within"):
        unpack(image_of(raw_layer(*members)), tmp_path / "deep" / "tree")

    assert list(tmp_path.rglob("*")) == [tmp_path / "deep"]


def test_a_link_may_point_anywhere_and_is_replaced_not_followed(layout: Layout, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    below, above = layout.pack([Entry("link", str(outside))]), layout.pack([Entry("link", b"inside")])

    unpack(image_of(below), tmp_path / "one")
    unpack(image_of(below, above), tmp_path / "two")

    assert (tmp_path / "one" / "link").readlink() == outside
    assert (tmp_path / "two" / "link").read_bytes() == b"inside"
    assert outside.read_text() == "untouched"


def test_a_damaged_layer_leaves_no_folder(layout: Layout, tmp_path: Path) -> None:
    layer = layout.pack([Entry("a", b"1")])
    blob = layout.path / "blobs" / "sha256" / layer.digest.removeprefix("sha256:")
    blob.write_bytes(blob.read_bytes() + b"\0")

    with pytest.raises(ImageError, match=layer.digest):
        unpack(image_of(layer), tmp_path / "tree")

    assert not (tmp_path / "tree").exists()


def model_image(layout: Layout, model: bytes) -> str:
    def packages(kind: str) -> list[Entry]:
        return [Entry(f"opt/modelyard/{kind}/{SITE}/{kind}_package.py", b"ANSWER = 42\n")]

    return layout.push(
        "wine",
        image_of(
            layout.pack(packages("environment"), "environment"),
            layout.pack(packages("server"), "server"),
            layout.pack([Entry("opt/modelyard/project/train.py", b"")], "project"),
            layout.pack([Entry("opt/modelyard/model/modelyard.json", model)], "model"),
        ),
    )


def test_a_model_image_runs_on_this_machine(layout: Layout, tmp_path: Path) -> None:
    root = unpack_model_image(layout, "wine", model_image(layout, b"{}"), tmp_path / "home")

    assert (root / "model" / "modelyard.json").read_bytes() == b"{}"
    assert (root / "project" / "train.py").exists()
    for kind in ("environment", "server"):
        python = root / kind / "bin" / "python"
        code = f"import {kind}_package, sys; print({kind}_package.ANSWER, sys.prefix != sys.base_prefix)"
        assert subprocess.check_output([python, "-I", "-c", code], text=True) == "42 True\n"


def test_images_share_their_environment_on_disk(layout: Layout, tmp_path: Path) -> None:
    roots = [
        unpack_model_image(layout, "wine", model_image(layout, model), tmp_path / "home") for model in (b"1", b"2")
    ]

    assert roots[0] != roots[1]
    assert (roots[0] / "environment").resolve() == (roots[1] / "environment").resolve()


def test_what_a_killed_process_left_is_not_taken_for_whole(layout: Layout, tmp_path: Path) -> None:
    digest = model_image(layout, b"{}")
    left = tmp_path / "home" / "unpacked" / f"{digest.removeprefix('sha256:')}.partial"
    (left / "model").mkdir(parents=True)
    (left / "model" / "half").write_text("")

    root = unpack_model_image(layout, "wine", digest, tmp_path / "home")

    assert [path.name for path in (root / "model").iterdir()] == ["modelyard.json"]


def test_those_who_ask_at_once_get_one_whole_folder(layout: Layout, tmp_path: Path) -> None:
    digest = model_image(layout, b"{}")
    roots: list[Path] = []
    askers = [
        threading.Thread(target=lambda: roots.append(unpack_model_image(layout, "wine", digest, tmp_path / "home")))
        for _ in range(8)
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()

    assert len(roots) == 8
    assert len(set(roots)) == 1
    assert (roots[0] / "server" / "bin" / "python").exists()


def test_an_environment_follows_the_interpreter_of_the_machine(layout: Layout, tmp_path: Path) -> None:
    digest = model_image(layout, b"{}")
    root = unpack_model_image(layout, "wine", digest, tmp_path / "home")
    (root / "server" / "bin" / "python").unlink()
    (root / "server" / "bin" / "python").symlink_to("/nowhere/python3")

    unpack_model_image(layout, "wine", digest, tmp_path / "home")

    assert subprocess.check_output([root / "server" / "bin" / "python", "-c", "print(1)"]) == b"1\n"
